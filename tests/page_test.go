package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/examples"
	"github.com/bgevl/bgevl/internal/testenv"
)

// A tab is a browser's, of which complaints holds what the page's script and the browser's policy complained of.
type tab struct {
	t          *testing.T
	ctx        context.Context
	complaints *lockedBuffer
}

// openTab starts a browser without a window.
func openTab(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testenv.Tool(t, "chromium")), chromedp.WindowSize(1280, 1000))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a page that hangs
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	b := &tab{t: t, complaints: &lockedBuffer{}}
	b.ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			fmt.Fprintln(b.complaints, "exception:", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError {
				fmt.Fprintln(b.complaints, "console:", e.Args)
			}
		case *log.EventEntryAdded: // the browser's own, of its policies
			if e.Entry.Source == log.EntrySourceSecurity || e.Entry.Source == log.EntrySourceViolation {
				fmt.Fprintln(b.complaints, "browser:", e.Entry.Text)
			}
		}
	}))
	t.Cleanup(cancel)
	return b
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// eval returns what an expression gives.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	require.NoError(b.t, err)
	return out
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.eval(expression) == "true" }, 20*time.Second, 30*time.Millisecond,
		"%s; the page says: %s %s", expression, b.eval(`document.querySelector("#error").textContent`), b.complaints)
}

// Expressions of the page.
const (
	pageIdle  = `document.querySelector("#results-section").getAttribute("aria-busy") === "false"`
	pageFirst = `document.querySelector("#results .card .title")?.textContent`
)

// pageAsked is true when the page shows the results of a query.
func pageAsked(text string) string {
	return pageIdle + ` && document.querySelector("#summary").textContent.includes(` + fmt.Sprintf("%q", text) + `)`
}

// TestPageOfDemo plays with the page of the demo model: its examples, similar pictures, a refined result, the lowest score,
// an uploaded picture, and an error, by mouse and by keyboard. Nothing may break the page's own policy.
func TestPageOfDemo(t *testing.T) {
	b := openTab(t)
	s := startServe(t, nil)
	s.ready(t)
	drawings := examples.NewDrawings()
	b.do(chromedp.Navigate(s.url+"/"), chromedp.WaitVisible("#demo"))

	// It begins with the first example.
	first := drawings.Queries()[0]
	b.until(pageAsked(first.Text))
	assert.Equal(t, drawings.Answer(first), b.eval(pageFirst))
	assert.Contains(t, b.eval(`document.querySelector("#facts").textContent`), "demo-clip")
	assert.Equal(t, "24", b.eval(`document.querySelectorAll("#results .card").length`))
	b.until(`[...document.querySelectorAll("#results .shot")].slice(0, 6).every((i) => i.naturalWidth > 0)`)

	// A chip.
	second := drawings.Queries()[1]
	b.do(chromedp.Click("#examples button:nth-child(2)"))
	b.until(pageAsked(second.Text))
	assert.Equal(t, drawings.Answer(second), b.eval(pageFirst))

	// Similar: the picture itself comes first, with 1.
	third := b.eval(`document.querySelector("#results li:nth-child(3) .title").textContent`)
	b.do(chromedp.Click("#results li:nth-child(3) .acts button"))
	b.until(pageIdle + ` && document.querySelector("#results .title").textContent === ` + fmt.Sprintf("%q", third))
	assert.Equal(t, "1.000", b.eval(`document.querySelector("#results .score span").textContent`))

	// Going back shows the query before.
	b.do(chromedp.NavigateBack())
	b.until(pageAsked(second.Text))
	assert.Equal(t, drawings.Answer(second), b.eval(pageFirst))

	// Refine: the result becomes the picture, and the text is typed and sent by the keyboard.
	b.do(chromedp.Click("#results li:nth-child(1) .acts button:nth-child(2)"))
	assert.Equal(t, "text", b.eval("document.activeElement.id"))
	b.do(chromedp.KeyEvent("at night"), chromedp.KeyEvent(kb.Enter))
	b.until(pageAsked("at night"))
	assert.Regexp(t, "red.* star.*(night|dark)|(night|dark).*red.* star", b.eval(pageFirst), "a red star, by day, at night")

	// The lowest score hides what is below it, and says so where that is all.
	b.eval(`(least.value = 0.99, least.dispatchEvent(new Event("input")))`)
	assert.Contains(t, b.eval(`document.querySelector("#none").textContent`), "None scores 0.99 or more")
	b.eval(`(least.value = 0, least.dispatchEvent(new Event("input")))`)
	assert.Equal(t, "true", b.eval(`document.querySelector("#none").hidden`))

	pageUpload(t, b)
	assert.Empty(t, b.complaints.String())
}

// pageUpload sends a picture, and then a file that is none.
func pageUpload(t *testing.T, b *tab) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.png")
	require.NoError(t, os.WriteFile(damaged, []byte("\x89PNG\r\n\x1a\nand no more"), 0o600))
	b.do(chromedp.Click("#picture-clear"), chromedp.SetUploadFiles("#file", []string{filepath.Join(testenv.Root(t), "examples", "pictures", "street.png")}),
		chromedp.WaitVisible("#picture"), chromedp.SetValue("#text", "the same by day"), chromedp.Click("#go"))
	b.until(pageAsked("the same by day"))
	b.do(chromedp.Click("#picture-clear"), chromedp.SetUploadFiles("#file", []string{damaged}), chromedp.WaitVisible("#picture"), chromedp.Click("#go"),
		chromedp.WaitVisible("#error"))
	assert.Contains(t, b.eval(`document.querySelector("#error").textContent`), "image cannot be decoded")
	b.eval(`text.value = ""`)
	b.do(chromedp.Click("#picture-clear"), chromedp.Click("#go"))
	b.until(`document.querySelector("#error").textContent.includes("Type a text, or add a picture")`)
}

// TestPageWithKey opens the page of a server with a key, on a narrow dark screen: it asks for the key, keeps it in the tab
// alone, and shows pictures with it.
func TestPageWithKey(t *testing.T) {
	b := openTab(t)
	s := startServe(t, []string{"BGEVL_API_KEY=the-key"}, "-m", modelPath(t), filepath.Join(testenv.Root(t), "examples", "pictures"))
	s.key = "the-key"
	s.ready(t)
	b.do(chromedp.EmulateViewport(390, 800), chromedp.Func(func(ctx context.Context, page *chromedp.Target) error {
		_, err := cdp.Call(ctx, page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
		return err
	}), chromedp.Navigate(s.url+"/"), chromedp.WaitVisible("#key-value"))
	b.do(chromedp.SendKeys("#key-value", "wrong"+kb.Enter))
	b.until(`document.querySelector("#key-error").textContent === "This key is not the right one."`)
	b.do(chromedp.SendKeys("#key-value", "the-key"+kb.Enter))
	b.until(`document.querySelector("#facts").textContent.includes("6 pictures")`)
	b.do(chromedp.SetValue("#text", "a street"), chromedp.Click("#go"))
	b.until(pageAsked("a street"))
	b.until(`[...document.querySelectorAll("#results .shot")].filter((i) => i.src.startsWith("blob:") && i.naturalWidth > 0).length === 6`)
	assert.Equal(t, "the-key", b.eval(`sessionStorage.getItem("bgevl-api-key")`))
	assert.Equal(t, "0", b.eval("localStorage.length"))
	assert.Empty(t, b.eval("document.cookie"))
	assert.Empty(t, b.eval(`[...document.querySelectorAll("main *, header *")].filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth)
		.map((e) => e.tagName + "#" + e.id + "." + e.className)`), "nothing is wider than the screen")
	assert.Equal(t, "rgb(18, 19, 25)", b.eval("getComputedStyle(document.body).backgroundColor"))
	assert.Equal(t, "true", b.eval(`document.querySelector("#demo").hidden`))
	assert.Empty(t, b.complaints.String())
}
