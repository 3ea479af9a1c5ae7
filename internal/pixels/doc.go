// Package pixels turns the bytes of an image file into the float32 pixels that a vision tower reads.
//
// Everything follows Pillow 13, which the reference models were trained and published with: the mode that a file
// decodes to, the conversion to RGB, and the fixed-point arithmetic of its resize. Files are known by their content,
// never by a name. EXIF orientation and ICC profiles are ignored, as Pillow ignores them unless asked (a TIFF's own
// orientation tag is the exception that Pillow makes, and it is made here too).
//
// # Sharing
//
// All functions may be called by many goroutines at once. An Image is not changed by any function of this package once
// it was returned, so it may be shared for reading; its owner is whoever holds it. A Config is immutable.
//
// # Lifetime
//
// Nothing here holds a resource beyond memory: there is nothing to close, no goroutine is started, and the input bytes
// aren't kept after Decode has returned.
//
// # Stopping
//
// Decode and Resize run to their end. What bounds them is Limits: a file's claimed size is checked before its pixels
// are decoded.
package pixels
