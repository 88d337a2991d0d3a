package command

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/rules"
)

// published is how one part of an exported log is served.
type published struct {
	path        string // below the root of the site
	exact       bool   // else everything below it
	contentType string
	caching     string
}

// publishedParts are the parts of an exported log. C2SP tlog-tiles: a checkpoint's "headers
// SHOULD prevent caching beyond a few seconds", and tiles and entries are "immutable, so its
// caching headers SHOULD be long-lived"; content types are as it says. The bundles and records
// beside them have their hash as their name; endorsements can be added.
var publishedParts = []published{
	{registrar.PathLog + "/checkpoint", true, "text/plain; charset=utf-8", "public, max-age=5, must-revalidate"},
	{registrar.PathLog + "/tile/", false, "application/octet-stream", "public, max-age=31536000, immutable"},
	{registrar.PathLog + "/bundles/", false, "application/json", "public, max-age=300"},
	{registrar.PathLog + "/platforms/", false, "application/json", "public, max-age=300"},
}

// all is the path, of what has more below it with a sign for the rest.
func (p published) all(rest string) string {
	if p.exact {
		return p.path
	}
	return p.path + rest
}

// headersFile are the headers in the form that Cloudflare Pages and Netlify take.
func headersFile() string {
	var b strings.Builder
	for _, p := range publishedParts {
		fmt.Fprintf(&b, "%s\n  Content-Type: %s\n  Cache-Control: %s\n  Access-Control-Allow-Origin: *\n  X-Content-Type-Options: nosniff\n", p.all("*"), p.contentType, p.caching)
	}
	return b.String()
}

// nginxFile are the headers in the form that nginx takes.
func nginxFile() string {
	var b strings.Builder
	b.WriteString("# Include this in the server block whose root is this folder.\n")
	for _, p := range publishedParts {
		exact := ""
		if p.exact {
			exact = "= "
		}
		fmt.Fprintf(&b, "location %s%s {\n    types {}\n    default_type %q;\n    add_header Cache-Control %q;\n    add_header Access-Control-Allow-Origin \"*\";\n    add_header X-Content-Type-Options nosniff;\n}\n",
			exact, p.path, p.contentType, p.caching)
	}
	return b.String()
}

func logExport(p *program) *cobra.Command {
	var read readFlags
	c := leaf("export DIR", "Write the public log, verified, as static files that a web server or a CDN serves",
		"escrow log export /srv/log-site --bundle bundle.json --server https://penname.example", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return p.export(ctx, read, args[0]) })
	c.Long = "Writes the public log, verified, into the folder DIR as C2SP tlog-tiles, or brings what\n" +
		"is there up to date: DIR" + registrar.PathLog + "/checkpoint, tile/… with the entries, and beside them the\n" +
		"rules and records of platforms that the log names. Serve DIR as the root of a site, and\n" +
		"escrow log --server takes its address.\n\n" +
		"DIR/_headers (Cloudflare Pages, Netlify) and DIR/nginx-headers.conf (nginx) say how each\n" +
		"part is cached; other servers need the same:\n" + cachingTable() + "\n" +
		"A tile never changes under its name; a partial one stays until the full one is there, so\n" +
		"that whoever has an earlier checkpoint reads on. The checkpoint is written last, after the\n" +
		"rules and records that it needs, each file\n" +
		"in one step: an export that was killed serves what it served before, and the next goes on.\n" +
		"Copy tile/, bundles/ and platforms/ to a CDN before the checkpoint."
	read.add(c)
	return c
}

// cachingTable are the headers for people.
func cachingTable() string {
	var b strings.Builder
	for _, p := range publishedParts {
		fmt.Fprintf(&b, "  %-18s %s; Cache-Control: %s\n", p.all("…"), p.contentType, p.caching)
	}
	return b.String()
}

func (p *program) export(ctx context.Context, read readFlags, dir string) error {
	o, err := read.open(ctx, p)
	if err != nil {
		return err
	}
	site := filepath.Join(dir, filepath.FromSlash(registrar.PathLog))
	unlock, err := lockMirror(site)
	if err != nil {
		return err
	}
	defer unlock()
	for name, text := range map[string]string{"_headers": headersFile(), "nginx-headers.conf": nginxFile()} {
		if err := shell.WriteFile(filepath.Join(dir, name), []byte(text)); err != nil {
			return err
		}
	}
	fetch, records := p.fetchRules(), p.fetchRecords()
	if read.mirror != "" {
		fetch, records = rules.FromMirror(read.mirror, fetch), rules.RecordsFromMirror(read.mirror, records)
	}
	r, err := o.Export(ctx, o.tiles, site, func(c torchwood.Checkpoint) error { return rules.Beside(ctx, site, c, fetch, records) }, p.leaves)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%d entries verified and written, %d of them new\nroot %s\nNext: serve %s with the headers of its _headers or nginx-headers.conf; --help says them.", r.Size, r.Size-r.Before, r.Root, dir)
	if r.Mended > 0 {
		text = fmt.Sprintf("%d files were wrong on this disk and were written again\n", r.Mended) + text
	}
	return p.print(r, text)
}
