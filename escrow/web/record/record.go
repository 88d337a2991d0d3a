// Package record serves the public record: what package verifier/record makes of the log, as
// this process verified it. It adds no word of its own, and knows no reader: no cookie is set,
// no line is written, and any site may read it (CORS).
package record

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/record"
)

// Path is where the record is served.
const Path = "/record/"

// Pages makes a page, as [record.Record.Page] does.
type Pages func(ctx context.Context, path string) (record.Page, error)

// Mount serves the record. It is read like the log: nobody is held to a rate, and everybody waits
// in the queue.
func Mount(edge *web.Server, pages Pages) {
	first := strings.TrimSuffix(Path, "/")
	edge.Handle(http.MethodGet, first, web.NoBody, web.Rate{}, func(w http.ResponseWriter, r *http.Request) error {
		public(w)
		if asks(r) {
			return pages.missing(w, r, http.StatusBadRequest)
		}
		http.Redirect(w, r, Path, http.StatusMovedPermanently)
		return nil
	})
	edge.Handle(http.MethodGet, Path+"*", web.NoBody, web.Rate{}, pages.serve)
	for _, path := range []string{first, Path + "*"} {
		edge.Handle(http.MethodOptions, path, web.NoBody, web.Rate{}, preflight)
	}
}

// public lets pages of any site read the answer, with its tag.
func public(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "ETag, Content-Range")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
}

// preflight answers a browser that asks whether a script of another site may ask with headers
// of its own (Fetch, 4.8), such as If-None-Match.
func preflight(w http.ResponseWriter, _ *http.Request) error {
	public(w)
	h := w.Header()
	h.Set("Allow", "OPTIONS, GET, HEAD")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// asks reports whether a request has parameters. No address takes any.
func asks(r *http.Request) bool { return r.URL.RawQuery != "" || r.URL.ForceQuery }

// caching says how long a reader may keep a page. The log has a new checkpoint every minute. What
// goes with another page is asked for each time, and not sent again if it is the same.
var caching = map[record.Lasts]string{
	record.Short:   "public, max-age=60",
	record.Long:    "public, max-age=3600, stale-while-revalidate=86400",
	record.Forever: "public, max-age=31536000, immutable",
	record.Newest:  "public, no-cache",
}

func (pages Pages) serve(w http.ResponseWriter, r *http.Request) error {
	public(w)
	if asks(r) {
		return pages.missing(w, r, http.StatusBadRequest)
	}
	at := strings.TrimPrefix(r.URL.Path, Path)
	p, err := pages(r.Context(), at)
	if errors.Is(err, record.ErrNoPage) {
		p, err = pages(r.Context(), at+".html") // the address for ever, without the ending of a file
	}
	switch {
	case errors.Is(err, record.ErrNoPage):
		if _, err := pages(r.Context(), at+"/"); err == nil { // the first page in another language
			http.Redirect(w, r, Path+at+"/", http.StatusMovedPermanently)
			return nil
		}
		return pages.missing(w, r, http.StatusNotFound)
	case err != nil:
		return err
	}
	sum := sha256.Sum256(p.Body)
	h := w.Header()
	h.Set("Content-Type", p.Type)
	h.Set("Cache-Control", caching[p.Lasts])
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.Body)) // answers If-None-Match
	return nil
}

// missing says what there is instead.
func (pages Pages) missing(w http.ResponseWriter, r *http.Request, status int) error {
	in, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Path), "/")
	at := "404.html"
	if _, err := pages(r.Context(), in+"/"); in != "" && err == nil { // the folder of a language, and of nothing else
		at = in + "/" + at
	}
	p, err := pages(r.Context(), at)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", p.Type)
	h.Set("Content-Length", strconv.Itoa(len(p.Body)))
	w.WriteHeader(status)
	_, err = w.Write(p.Body)
	return err
}
