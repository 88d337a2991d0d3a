// chromium signs a person in with scripts, in a headless Chromium. Its arguments are what the
// person does, one after the other: an address is opened, a button is pressed, and with
// "popup: " before its label they go on in the window that it opens. It prints the text of the
// page that says who signed in, or that it failed.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"clients/app"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

func main() {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(os.Getenv("CHROMIUM")), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	first, cancel := chromedp.NewContext(ctx)
	defer cancel()
	window := first
	said := chromedp.Text(`//p[@id="out" and text()]`)
	for i, step := range os.Args[1:] {
		label, opens := strings.CutPrefix(step, "popup: ")
		switch {
		case strings.HasPrefix(step, "http://"):
			if i > 0 { // once what came before has ended
				_, err := chromedp.Run(window, said)
				app.Must(err)
			}
			app.Must(chromedp.Do(window, chromedp.Navigate(step)))
		case opens:
			opened := chromedp.WaitNewTarget(first, func(*target.Info) bool { return true })
			app.Must(chromedp.Do(first, press(label)))
			window, cancel = chromedp.NewContext(first, chromedp.WithTargetID(<-opened))
			defer cancel()
		default:
			app.Must(chromedp.Do(window, press(step)))
		}
	}
	text, err := chromedp.Run(first, said)
	app.Must(err)
	fmt.Println(text)
}

func press(label string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(fmt.Sprintf(`//button[contains(., %q)]`, label))
}
