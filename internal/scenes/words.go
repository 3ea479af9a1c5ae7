package scenes

import (
	"math/rand/v2"
	"strings"
)

// wordings returns the ways to say a value of an attribute. Those of shapes are nouns in the singular, those of places and
// times say where and when.
func wordings(a Attribute, value int) []string {
	switch a {
	case Shape:
		return [][]string{{"circle", "disc"}, {"square"}, {"triangle"}, {"star"}, {"heart"}, {"cross"}, {"ring"},
			{"crescent", "crescent moon"}}[value]
	case Colour:
		return [][]string{{"red"}, {"orange"}, {"yellow"}, {"green"}, {"blue"}, {"purple", "violet"}, {"pink"}, {"white"}}[value]
	case Texture:
		return [][]string{{"plain", "solid"}, {"striped"}, {"dotted", "spotted"}, {"checked", "chequered"}}[value]
	case Size:
		return [][]string{{"small", "little", "tiny"}, {"medium", "middle-sized"}, {"large", "big", "huge"}}[value]
	case Count:
		return [][]string{{"one", "a single", "a"}, {"two", "a pair of"}, {"three"}, {"four"}}[value]
	case Position:
		return [][]string{{"on the left", "at the left"}, {"on the right", "at the right"}, {"at the top", "high up"},
			{"at the bottom", "low down"}, {"in the middle", "in the centre"}}[value]
	case Place:
		return [][]string{{"in a green field", "on a meadow", "over the grass"}, {"at the sea", "over the water", "by the ocean"},
			{"in the desert", "over the sand"}, {"in the snow", "on snowy mountains"}, {"in the city", "in a town", "before tall buildings"},
		}[value]
	default:
		return [][]string{{"by day", "in daylight", "on a sunny day"}, {"at night", "in the dark", "under the night sky"}}[value]
	}
}

func choose[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }

// objects says what is drawn, of the attributes that are asked for: "three small striped red stars".
func (s Scene) objects(rnd *rand.Rand, says func(Attribute) bool) string {
	var words []string
	if says(Count) {
		words = append(words, choose(rnd, wordings(Count, s[Count])))
	}
	adjectives := []Attribute{Size, Colour, Texture}
	rnd.Shuffle(len(adjectives), func(i, j int) { adjectives[i], adjectives[j] = adjectives[j], adjectives[i] })
	for _, a := range adjectives {
		if says(a) {
			words = append(words, choose(rnd, wordings(a, s[a])))
		}
	}
	noun := "thing"
	if says(Shape) {
		noun = choose(rnd, wordings(Shape, s[Shape]))
	}
	if says(Count) && s[Count] > 0 {
		noun = plural(noun)
	}
	return article(strings.Join(append(words, noun), " "))
}

func plural(noun string) string {
	if strings.HasSuffix(noun, "ss") {
		return noun + "es"
	}
	return noun + "s"
}

// article writes an before a vowel.
func article(words string) string {
	if rest, ok := strings.CutPrefix(words, "a "); ok && strings.ContainsAny(rest[:1], "aeiou") {
		return "an " + rest
	}
	return words
}

// Caption says all of the scene in one of many wordings.
func (s Scene) Caption(rnd *rand.Rand) string {
	return s.write(rnd, func(Attribute) bool { return true })
}

// Mention says two to four of the scene's attributes, and which.
func (s Scene) Mention(rnd *rand.Rand) (text string, said []Attribute) {
	for _, a := range rnd.Perm(int(NumAttributes))[:2+rnd.IntN(3)] {
		said = append(said, Attribute(a))
	}
	return s.write(rnd, func(a Attribute) bool {
		for _, b := range said {
			if a == b {
				return true
			}
		}
		return false
	}), said
}

// write says the attributes that are asked for: what is drawn, and around it or in front of it where and when.
func (s Scene) write(rnd *rand.Rand, says func(Attribute) bool) string {
	var around []string
	for _, a := range []Attribute{Position, Place, Time} {
		if says(a) {
			around = append(around, choose(rnd, wordings(a, s[a])))
		}
	}
	rnd.Shuffle(len(around), func(i, j int) { around[i], around[j] = around[j], around[i] })
	what := s.objects(rnd, says)
	switch rnd.IntN(4) {
	case 0:
		return choose(rnd, []string{"a picture of ", "a photo of ", "there is "}) + strings.Join(append([]string{what}, around...), " ")
	case 1:
		if len(around) > 0 {
			return strings.Join(around, " ") + choose(rnd, []string{", ", ": ", " there is "}) + what
		}
	}
	return strings.Join(append([]string{what}, around...), " ")
}

// Edit says how to make the scene target of s, which must differ in the attribute alone as Vary makes it: "make it red".
func (s Scene) Edit(rnd *rand.Rand, a Attribute, target Scene) string {
	it := "it"
	if s[Count] > 0 {
		it = "them"
	}
	word := choose(rnd, wordings(a, target[a]))
	var ways []string
	switch a {
	case Shape:
		noun := article("a " + word)
		if s[Count] > 0 {
			noun = plural(word)
		}
		ways = []string{"make IT " + noun, "turn IT into " + noun, "with " + noun + " instead", noun + " instead"}
	case Colour:
		ways = []string{"make IT " + word, "paint IT " + word, "the same in " + word, "change the colour to " + word, "but " + word}
	case Texture:
		ways = []string{"make IT " + word, "the same but " + word, "with a " + word + " pattern", "change the texture to " + word}
	case Size:
		ways = []string{"make IT bigger", "larger", "make IT larger", "the same but bigger"}
		if target[a] < s[a] {
			ways = []string{"make IT smaller", "smaller", "the same but smaller", "shrink IT"}
		}
	case Count:
		ways = []string{"add one more", "one more", "with one more of them", "add another one"}
		if target[a] < s[a] {
			ways = []string{"remove one", "one less", "take one away", "with one fewer"}
		}
	case Position:
		to := []string{"to the left", "to the right", "to the top", "to the bottom", "to the middle"}[target[a]]
		ways = []string{"move IT " + to, "put IT " + word, "the same " + word, word + " instead"}
	case Place, Time:
		ways = []string{word, "the same " + word, "put IT " + word, "show IT " + word, "but " + word}
	}
	return strings.ReplaceAll(choose(rnd, ways), "IT", it)
}
