package hub

import (
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxRepo      = 96  // characters, as the hub has it
	maxRevision  = 200 // bytes; git allows more and nobody uses it
	maxComponent = 255 // bytes of one name on the usual file systems
	maxPath      = 900 // bytes; leaves room for the cache's folder below the 1024 of macOS
)

var (
	repoPattern   = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// CheckRepo returns an error unless name can be a repository of the hub: NAME or ORG/NAME.
func CheckRepo(name string) error {
	why := ""
	switch {
	case name == "":
		why = "it is empty"
	case len(name) > maxRepo:
		why = "it is longer than 96 characters"
	case !repoPattern.MatchString(name):
		why = "want ORG/NAME of letters, digits, '-', '_' and '.'"
	case strings.Contains(name, "--") || strings.Contains(name, ".."):
		why = "it has -- or .. in it"
	case strings.HasSuffix(name, ".git"):
		why = "it ends in .git"
	}
	for part := range strings.SplitSeq(name, "/") {
		if why == "" && (strings.HasSuffix(part, ".") || strings.HasSuffix(part, "-") || device(part)) {
			why = "part " + quote(part) + " cannot be a file's name everywhere"
		}
	}
	if why != "" {
		return failf(ErrName, "repository %s: %s", quote(name), why)
	}
	return nil
}

// CheckRevision returns an error unless name can be a branch, a tag or a commit by git's rules.
func CheckRevision(name string) error {
	why := ""
	switch {
	case name == "":
		why = "it is empty"
	case len(name) > maxRevision:
		why = "it is too long"
	case strings.ContainsAny(name, "~^:?*[\\\"<>|") || strings.Contains(name, "@{") || name == "@":
		why = "git allows no such name"
	case strings.HasPrefix(name, "-"):
		why = "it begins with a dash"
	default:
		why = portable(name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if why == "" && (strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")) {
			why = "git allows no such name"
		}
	}
	if why != "" {
		return failf(ErrName, "revision %s: %s", quote(name), why)
	}
	return nil
}

// checkListed returns an error where no git repository can hold a file of that name, so that its listing is a forgery.
func checkListed(name string) error {
	if why := impossible(name); why != "" {
		return failf(ErrName, "file %s: %s", quote(name), why)
	}
	return nil
}

// checkFile returns an error unless a file of that name can be stored below a folder on every system.
func checkFile(name string) error {
	if why := portable(name); why != "" {
		return failf(ErrName, "file %s: %s", quote(name), why)
	}
	return nil
}

// impossible says why a path cannot stand in a git tree, or nothing.
func impossible(name string) string {
	switch {
	case name == "":
		return "the name is empty"
	case len(name) > 4096:
		return "the name is too long"
	case strings.ContainsRune(name, 0):
		return "the name has a zero byte in it"
	case !utf8.ValidString(name):
		return "the name is not UTF-8"
	case path.IsAbs(name):
		return "the name is absolute"
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return "a part of the name is empty"
		case part == "." || part == "..":
			return "the name leads out of its folder"
		case strings.EqualFold(part, ".git"):
			return "it lies in git's own folder"
		}
	}
	return ""
}

// portable says why a path cannot be stored below a folder on every system, or nothing.
func portable(name string) string {
	if why := impossible(name); why != "" {
		return why
	}
	if len(name) > maxPath {
		return "the name is too long"
	}
	for _, r := range name {
		switch {
		case r == '\\':
			return "the name has a backslash in it"
		case strings.ContainsRune(`:*?"<>|`, r):
			return "the name has a character in it that Windows reserves"
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			return "the name has a character in it that does not print"
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case len(part) > maxComponent-len(".incomplete"):
			return "a part of the name is too long"
		case strings.TrimRight(part, ". ") != part || strings.TrimLeft(part, " ") != part:
			return "a part of the name begins with a space, or ends with a space or a dot"
		case device(part):
			return "the name is that of a device on Windows"
		}
	}
	return ""
}

// device reports whether Windows takes a file's name, whatever its suffix, for a device.
func device(part string) bool {
	stem, _, _ := strings.Cut(part, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(stem, port); ok && utf8.RuneCountInString(n) == 1 && strings.Contains("0123456789¹²³", n) {
			return true
		}
	}
	return false
}

// checkTogether returns an error where two of the files, each with a valid name, cannot both be stored: their names differ
// by case alone, or one is the folder of another.
func checkTogether(files []File) error {
	seen := map[string]string{}
	for _, f := range files {
		folded := strings.ToLower(f.Path)
		if other, ok := seen[folded]; ok {
			return failf(ErrName, "files %s and %s: they are one and the same where case does not count", quote(other), quote(f.Path))
		}
		seen[folded] = f.Path
	}
	for _, f := range files {
		for dir := path.Dir(strings.ToLower(f.Path)); dir != "."; dir = path.Dir(dir) {
			if other, ok := seen[dir]; ok {
				return failf(ErrName, "files %s and %s: one cannot be the other's folder", quote(other), quote(f.Path))
			}
		}
	}
	return nil
}

// folderName is the cache's name for a repository.
func folderName(repo string) string { return "models--" + strings.ReplaceAll(repo, "/", "--") }
