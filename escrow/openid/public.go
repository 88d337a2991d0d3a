package openid

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// publication is a document that anybody may read, scripts of any origin too (CORS:
// Fetch, 3.2), and that need not be sent again to who has it (RFC 9110, 8.8.3).
type publication struct {
	contentType string
	fresh       time.Duration // how long a cache may keep it
	body        []byte
	packed      []byte // by gzip; nil: only as it is
	tag         string // its ETag, without quotes
}

func publish(contentType string, fresh time.Duration, body []byte) publication {
	sum := sha256.Sum256(body)
	return publication{contentType: contentType, fresh: fresh, body: body, tag: encode(sum[:16])}
}

// pack adds the form for those who take gzip.
func (p *publication) pack() {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is one
	_, _ = w.Write(p.body)                                     // a buffer takes it all
	_ = w.Close()
	p.packed = packed.Bytes()
}

func (p *publication) serve(w http.ResponseWriter, r *http.Request) {
	body, tag, h := p.body, p.tag, w.Header()
	if p.packed != nil {
		h.Add("Vary", "Accept-Encoding")
		if takesGzip(r) { // another representation has another tag (RFC 9110, 8.8.3.3)
			body, tag = p.packed, p.tag+"-gzip"
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Content-Type", p.contentType)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(p.fresh/time.Second)))
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takesGzip reads Accept-Encoding (RFC 9110, 12.5.3). Who does not name gzip gets the
// document as it is.
func takesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(strings.ToLower(r.Header.Get("Accept-Encoding")), ",") {
		name, weight, _ := strings.Cut(strings.Join(strings.Fields(coding), ""), ";")
		if name == "gzip" {
			q, err := strconv.ParseFloat(strings.TrimPrefix(weight, "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}
