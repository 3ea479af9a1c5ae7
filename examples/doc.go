// Package examples holds what the program shows itself with where nobody gave it a model or pictures: the small trained
// CLIP model of models/demo-clip, and pictures that are drawn.
//
// [DemoCLIP] is the model's checkpoint, which package convert reads from a folder, and [Digest] tells one version of it
// from another. [Drawings] are pictures of what the model knows, drawn when they are opened.
//
// All functions may be called by many goroutines at once. Nothing here holds a resource.
package examples
