package hub

import (
	"errors"
	"fmt"
)

// What a pull may fail with, for errors.Is.
var (
	// ErrName says that a repository, a revision or a file has a name that is not taken from anybody.
	ErrName = errors.New("unacceptable name")
	// ErrNotFound says that the hub has no such repository, revision or file.
	ErrNotFound = errors.New("not found")
	// ErrAccess says that the hub wants a token, or another one, or consent to the repository's terms.
	ErrAccess = errors.New("access denied")
	// ErrOffline says that the network may not be used and the cache lacks what is wanted.
	ErrOffline = errors.New("offline")
	// ErrDigest says that the bytes that came are not those that the commit's listing tells of.
	ErrDigest = errors.New("wrong digest")
	// ErrProtocol says that the other side does not speak the hub's protocol, or lies.
	ErrProtocol = errors.New("not the hub's protocol")
	// ErrSpace says that the disk has too little room.
	ErrSpace = errors.New("not enough disk space")
	// ErrChoice says that the repository holds several models, or none that this module can use.
	ErrChoice = errors.New("no single model")
)

// failure is an error of a kind with its own words.
type failure struct {
	kind error
	text string
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.kind }

func failf(kind error, format string, args ...any) error {
	return &failure{kind, fmt.Sprintf(format, args...)}
}

// quote spells a name that a stranger chose, so that it cannot drive a terminal or fill a screen.
func quote(name string) string {
	const most = 120
	if len(name) > most {
		name = name[:most] + "..."
	}
	return fmt.Sprintf("%+q", name)
}
