//go:build linux || darwin

package diskspace

import "golang.org/x/sys/unix"

// Free returns the bytes that may still be written to the file system of a folder. It reports false where the system does
// not say.
func Free(folder string) (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, false
	}
	size := int64(s.Bsize) //nolint:unconvert // it is an int64 on some systems only
	if size <= 0 || s.Bavail > uint64((1<<63-1)/size) {
		return 0, false
	}
	return int64(s.Bavail) * size, true
}
