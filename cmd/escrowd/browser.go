package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// browser is a person's browser in the sandbox's story: it keeps cookies,
// follows redirects and presses buttons. It runs no JavaScript, so that the
// story also shows that none is needed.
type browser struct {
	client *http.Client
	page   page
}

// page is where a browser is.
type page struct {
	url    *url.URL
	status int
	body   string
	root   *html.Node
}

func newBrowser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // cannot fail without options
	}
	return &browser{client: &http.Client{Jar: jar}}
}

func (b *browser) open(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return b.do(req)
}

func (b *browser) do(req *http.Request) error {
	req.Header.Set("Accept", "text/html")
	res, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	root, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	b.page = page{url: res.Request.URL, status: res.StatusCode, body: string(body), root: root}
	return nil
}

// press presses the button with that label, with the fields of its form and
// what the person filled in.
func (b *browser) press(ctx context.Context, label string, fill url.Values) error {
	var form, button *html.Node
	for n := range b.page.root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "button" || !strings.Contains(text(n), label) {
			continue
		}
		for p := n.Parent; p != nil; p = p.Parent {
			if p.Data == "form" {
				form, button = p, n
			}
		}
		if form != nil {
			break
		}
	}
	if form == nil {
		return fmt.Errorf("no button %q on %s, which answered %d: %.900s", label, b.page.url.Path, b.page.status, text(b.page.root))
	}
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attr(n, "name") != "" {
			values.Set(attr(n, "name"), attr(n, "value"))
		}
	}
	if name := attr(button, "name"); name != "" {
		values.Set(name, attr(button, "value"))
	}
	for k, v := range fill {
		values[k] = v
	}
	target, err := b.page.url.Parse(attr(form, "action"))
	if err != nil {
		return err
	}
	var req *http.Request
	if strings.EqualFold(attr(form, "method"), "post") {
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(values.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	} else {
		target.RawQuery = values.Encode()
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	}
	if err != nil {
		return err
	}
	return b.do(req)
}

// shows fails unless the page is an answer of that status with that text.
func (b *browser) shows(status int, want string) error {
	if b.page.status != status {
		return fmt.Errorf("%s answered %d, not %d", b.page.url.Path, b.page.status, status)
	}
	if !strings.Contains(text(b.page.root), want) {
		return errors.New(b.page.url.Path + " does not show: " + want)
	}
	return nil
}

func text(n *html.Node) string {
	var s strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			s.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(s.String()), " ")
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
