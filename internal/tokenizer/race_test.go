//go:build race

package tokenizer

// raceEnabled: the race detector makes everything several times slower, so times say nothing.
const raceEnabled = true
