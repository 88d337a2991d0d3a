// chromium signs a person in to a page of scripts, in a headless Chromium: it opens START,
// presses the buttons that its arguments name, one after the other, and prints the text of
// the page that says who signed in, or that it failed.
package main

import (
	"context"
	"fmt"
	"os"

	"clients/app"

	"github.com/chromedp/chromedp"
)

func main() {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(os.Getenv("CHROMIUM")), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	app.Must(chromedp.Do(ctx, chromedp.Navigate(os.Getenv("START"))))
	for _, label := range os.Args[1:] {
		app.Must(chromedp.Do(ctx, chromedp.Click(fmt.Sprintf(`//button[contains(., %q)]`, label))))
	}
	text, err := chromedp.Run(ctx, chromedp.Text(`//p[@id="out" and text()]`))
	app.Must(err)
	fmt.Println(text)
}
