// Package testenv tells tests what their surroundings offer.
//
// A test whose data or tool is missing skips and says so; where BGEVL_REQUIRE=1 is set, as CI does, the same is a
// failure, so that nothing is left untested without a word. All functions are safe for parallel tests.
package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Missing skips the test for the reason given, or fails it where BGEVL_REQUIRE=1.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("BGEVL_REQUIRE") == "1" {
		t.Fatal("BGEVL_REQUIRE=1 and " + why)
	}
	t.Skip(why)
}

// Root returns the project's root folder.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("testenv: the caller's file is unknown: tests were built with -trimpath")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Shared returns the folder of reference fixtures: BGEVL_SHARED, or ../shared beside the project's root. Without one
// the test skips even under BGEVL_REQUIRE=1, since a clone need not have it.
func Shared(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("BGEVL_SHARED")
	if dir == "" {
		dir = filepath.Join(filepath.Dir(Root(t)), "shared")
	}
	if _, err := os.Stat(filepath.Join(dir, "fixtures")); err != nil {
		t.Skip("no reference fixtures: set BGEVL_SHARED to the folder that holds fixtures/: " + err.Error())
	}
	return dir
}

// Tool returns the path of a program that a test runs, or reports it missing.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "the program "+name+" is not installed")
	}
	return path
}
