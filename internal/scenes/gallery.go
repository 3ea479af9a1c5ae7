package scenes

import "math/rand/v2"

// A Picture is a scene drawn with a seed.
type Picture struct {
	Scene Scene
	Seed  uint64
}

// A Query asks for one picture of a gallery, by a picture with a text that says what to change.
type Query struct {
	Source Picture
	Text   string
	Kind   Attribute // that the text changes
	Target int       // among the gallery's pictures
}

// A Gallery is a set of pictures and questions to it, none of whose answers training has shown: all targets are of
// held-out pairs of shape and colour.
//
// Pictures come in families of five, a scene and four that differ from it in one attribute each. So a picture alone does
// not give the answer away, nor does a text: the pictures most like the right one are in the gallery too, and among them
// a picture of the very scene that the question is asked about.
type Gallery struct {
	Pictures []Picture
	Captions []string  // a full caption of each picture
	Again    []Picture // each scene drawn anew
	Queries  []Query
}

// familySize is a scene and its variants.
const familySize = 5

// NewGallery returns a gallery of so many families of five pictures and four queries. Every attribute is changed by as
// many queries, where the families are even in number.
func NewGallery(seed uint64, families int) Gallery {
	rnd := rand.New(rand.NewPCG(seed, 2))
	g, seen := Gallery{}, map[Scene]bool{}
	draw := func(s Scene) Picture { return Picture{s, rnd.Uint64()} }
	add := func(s Scene) int {
		seen[s] = true
		g.Pictures = append(g.Pictures, draw(s))
		return len(g.Pictures) - 1
	}
	for len(g.Pictures) < families*familySize {
		base := Random(rnd, true)
		first := Attribute(len(g.Pictures) / familySize % 2) // even attributes in one family, odd ones in the next
		var variants []Scene
		for a := first; a < NumAttributes; a += 2 {
			variants = append(variants, base.Vary(rnd, a))
		}
		if anySeen(seen, append(variants, base)) {
			continue
		}
		at := add(base)
		for i, v := range variants {
			a := first + 2*Attribute(i)
			from, to, target := base, v, add(v)
			if !v.HeldOut() { // another shape or colour: the other way round
				from, to, target = v, base, at
			}
			g.Queries = append(g.Queries, Query{draw(from), from.Edit(rnd, a, to), a, target})
		}
	}
	for _, p := range g.Pictures {
		g.Captions = append(g.Captions, p.Scene.Caption(rnd))
		g.Again = append(g.Again, draw(p.Scene))
	}
	return g
}

func anySeen(seen map[Scene]bool, list []Scene) bool {
	for _, s := range list {
		if seen[s] {
			return true
		}
	}
	return false
}
