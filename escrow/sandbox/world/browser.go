package world

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

// Browser is a person's browser: it keeps cookies, follows redirects and presses
// buttons. It runs no JavaScript, so that the story also shows that none is
// needed.
type Browser struct {
	Client *http.Client
	Page   Page
}

// Page is where a browser is.
type Page struct {
	URL    *url.URL
	Status int
	Body   string
	root   *html.Node
}

// NewBrowser is a browser without a page and without cookies.
func NewBrowser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // cannot fail without options
	}
	return &Browser{Client: &http.Client{Jar: jar}}
}

// Open goes to an address.
func (b *Browser) Open(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return b.Do(req)
}

// Do makes a request and shows its answer.
func (b *Browser) Do(req *http.Request) error {
	req.Header.Set("Accept", "text/html")
	res, err := b.Client.Do(req)
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
	b.Page = Page{URL: res.Request.URL, Status: res.StatusCode, Body: string(body), root: root}
	return nil
}

// Press presses the button with that label, with the fields of its form and
// what the person filled in.
func (b *Browser) Press(ctx context.Context, label string, fill url.Values) error {
	form, button := b.button(label)
	if form == nil {
		return fmt.Errorf("no button %q on %s, which answered %d: %.900s", label, b.Page.URL.Path, b.Page.Status, text(b.Page.root))
	}
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attr(n, "name") != "" && attr(n, "type") != "checkbox" { // none is ticked, unless the person fills it in
			values.Set(attr(n, "name"), attr(n, "value"))
		}
		if n.Type == html.ElementNode && n.Data == "textarea" && n.FirstChild != nil {
			values.Set(attr(n, "name"), n.FirstChild.Data)
		}
	}
	if name := attr(button, "name"); name != "" {
		values.Set(name, attr(button, "value"))
	}
	for k, v := range fill {
		values[k] = v
	}
	target, err := b.Page.URL.Parse(attr(form, "action"))
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
	return b.Do(req)
}

// Offers reports whether the page has a button with that label.
func (b *Browser) Offers(label string) bool {
	form, _ := b.button(label)
	return form != nil
}

// button finds the first button in a form whose label contains a text; nil if there is none.
func (b *Browser) button(label string) (form, button *html.Node) {
	for n := range b.Page.root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "button" || !strings.Contains(text(n), label) {
			continue
		}
		for p := n.Parent; p != nil; p = p.Parent {
			if p.Data == "form" {
				return p, n
			}
		}
	}
	return nil, nil
}

// Shows fails unless the page is an answer of that status with that text.
func (b *Browser) Shows(status int, want string) error {
	if b.Page.Status != status {
		return fmt.Errorf("%s answered %d, not %d", b.Page.URL.Path, b.Page.Status, status)
	}
	if !strings.Contains(text(b.Page.root), want) {
		return errors.New(b.Page.URL.Path + " does not show: " + want)
	}
	return nil
}

// Text is what a person reads on the page.
func (p Page) Text() string { return text(p.root) }

// ProveIdentity proves an identity at the identity provider, from a page of
// Penname that offers it, and goes on to the sign-in that waits, if one does.
func (b *Browser) ProveIdentity(ctx context.Context, name string) error {
	if err := b.Press(ctx, "Prove my identity", nil); err != nil {
		return err
	}
	if err := b.Press(ctx, name, nil); err != nil {
		return err
	}
	return b.GoOn(ctx, "/authorize/")
}

// Enrol goes to Penname's first page and proves an identity there.
func (b *Browser) Enrol(ctx context.Context, origin, name string) error {
	if err := b.Open(ctx, origin); err != nil {
		return err
	}
	return b.ProveIdentity(ctx, name)
}

// Visit signs a person in to a platform through the consent page, on which they tick claims.
func (b *Browser) Visit(ctx context.Context, p *Platform, name string, claims ...string) error {
	if err := b.Ask(ctx, p, name); err != nil {
		return err
	}
	return b.Press(ctx, "Sign in to "+p.Name, url.Values{"claim": claims})
}

// Ask goes from a platform to the consent page.
func (b *Browser) Ask(ctx context.Context, p *Platform, name string) error {
	if err := b.Open(ctx, p.Origin); err != nil {
		return err
	}
	if err := b.Press(ctx, "Sign in with Penname", nil); err != nil {
		return err
	}
	if !b.Offers("Sign in to " + p.Name) { // which offers to renew a proof of identity too
		return b.ProveIdentity(ctx, name)
	}
	return nil
}

// GoOn leaves the page that shows once what was sealed, if the browser is there, for a page
// whose path begins so.
func (b *Browser) GoOn(ctx context.Context, path string) error {
	if to := b.link("Go on", path); to != "" {
		return b.open(ctx, to)
	}
	return nil
}

// Follow follows the first link of the page that leads to a path which begins so.
func (b *Browser) Follow(ctx context.Context, path string) error {
	to := b.link("", path)
	if to == "" {
		return errors.New(b.Page.URL.Path + " does not lead to " + path)
	}
	return b.open(ctx, to)
}

// link is where the first link of the page leads that has these words, and leads to a path which
// begins so; "": there is none.
func (b *Browser) link(words, path string) string {
	for n := range b.Page.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && strings.Contains(text(n), words) && strings.HasPrefix(attr(n, "href"), path) {
			return attr(n, "href")
		}
	}
	return ""
}

// open goes where a link of the page leads.
func (b *Browser) open(ctx context.Context, href string) error {
	to, err := b.Page.URL.Parse(href)
	if err != nil {
		return err
	}
	return b.Open(ctx, to.String())
}

// Say posts words on the platform where the browser is, and returns the post.
func (b *Browser) Say(ctx context.Context, p *Platform, words string) (Post, error) {
	if err := b.Press(ctx, "Post", url.Values{"text": {words}}); err != nil {
		return Post{}, err
	}
	if err := b.Shows(http.StatusOK, words); err != nil {
		return Post{}, err
	}
	return p.Last()
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
