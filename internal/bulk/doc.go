// Package bulk carries many inputs through a model: it reads JSON lines, embeds them in order with bounded memory, and
// writes one record for each.
//
// What is wrong with one line, or with the picture that it names, is the record of that line; the lines after it go on.
// Reader, Run and the sinks are each for one goroutine; a Reader and a Sink live for one Run. Run is stopped by its
// context.
package bulk
