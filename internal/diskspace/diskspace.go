// Package diskspace tells how much room a file system has left. It keeps nothing and may be called by any goroutine.
package diskspace
