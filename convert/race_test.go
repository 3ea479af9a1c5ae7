//go:build race

package convert_test

// raceDetector says that tests run several times slower and in several times the memory.
const raceDetector = true
