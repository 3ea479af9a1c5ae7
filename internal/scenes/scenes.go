// Package scenes makes up pictures with captions: what the demo models are trained on, tested on and shown with.
//
// # What it is
//
// A [Scene] is a value for each of eight attributes: what is drawn, its colour, texture, size, number and position, and
// where and when. [Scene.Draw] draws it, never twice alike for two seeds; [Scene.Caption] writes all of it in one of many
// wordings and [Scene.Mention] a part of it; [Scene.Edit] makes another scene of it and says how: "make it red".
// A quarter of the pairs of shape and colour are held out ([Scene.HeldOut]): training never shows them, and every picture
// that [NewGallery] asks for is of one.
//
// # Goroutines, life and stopping
//
// All functions may be called by many goroutines at once, each with a source of random numbers of its own. What they
// return depends on their arguments alone.
package scenes

import "math/rand/v2"

// An Attribute is one of the things that make a scene.
type Attribute int

// The attributes of a scene.
const (
	Shape Attribute = iota
	Colour
	Texture
	Size
	Count
	Position
	Place
	Time
	NumAttributes
)

// String returns the attribute's name.
func (a Attribute) String() string {
	return [NumAttributes]string{"shape", "colour", "texture", "size", "count", "position", "place", "time"}[a]
}

// Values returns how many values the attribute has: from 0 to one less.
func (a Attribute) Values() int {
	return [NumAttributes]int{8, 8, 4, 3, 4, 5, 5, 2}[a]
}

// What the values stand for, where code has to know.
const (
	circle, square, triangle, star, heart, cross, ring, crescent = 0, 1, 2, 3, 4, 5, 6, 7
	plain, striped, dotted, checked                              = 0, 1, 2, 3
	left, right, top, bottom, middle                             = 0, 1, 2, 3, 4
	meadow, sea, desert, snow, city                              = 0, 1, 2, 3, 4
	day, night                                                   = 0, 1
)

// A Scene holds a value of each attribute.
type Scene [NumAttributes]int

// HeldOut reports whether training never shows the scene's pair of shape and colour. Each shape lacks two of the eight
// colours, and each colour two shapes.
func (s Scene) HeldOut() bool { return (s[Colour]+3*s[Shape])%8 < 2 }

// Random returns any scene, held out or not as asked for.
func Random(rnd *rand.Rand, heldOut bool) Scene {
	for {
		var s Scene
		for a := range NumAttributes {
			s[a] = rnd.IntN(a.Values())
		}
		if s.HeldOut() == heldOut {
			return s
		}
	}
}

// Vary returns a scene that differs in the attribute alone, by as much as an edit in words can say: sizes and numbers by
// one step, anything else to any other value.
func (s Scene) Vary(rnd *rand.Rand, a Attribute) Scene {
	if a == Size || a == Count {
		step := 1 - 2*rnd.IntN(2)
		if v := s[a] + step; v < 0 || v >= a.Values() {
			step = -step
		}
		s[a] += step
		return s
	}
	s[a] = (s[a] + 1 + rnd.IntN(a.Values()-1)) % a.Values()
	return s
}
