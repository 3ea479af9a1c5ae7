//go:build !bgevl_libjpeg

package pixels

// decodeJPEG decodes in Go.
func decodeJPEG(data []byte, l Limits) (*Image, error) {
	return decodeJPEGInGo(data, l)
}
