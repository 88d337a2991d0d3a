package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// personAt is a person's browser with a platform beside it, and where they go next. It keeps
// one connection and its cookies, and does no more than it must: what it takes of the
// processors is taken from the provider that it measures. net/http's client took twice as much.
type personAt struct {
	cookies map[string]string
	number  string // typed where a provider asks who this is
	next    int

	conn   net.Conn
	answer *bufio.Reader
}

// newPerson is somebody who has these cookies.
func newPerson(cookies []*http.Cookie) *personAt {
	w := &personAt{cookies: map[string]string{}}
	w.keep(cookies)
	return w
}

func (w *personAt) keep(cookies []*http.Cookie) {
	for _, c := range cookies {
		if w.cookies[c.Name] = c.Value; c.MaxAge < 0 || c.Value == "" {
			delete(w.cookies, c.Name)
		}
	}
}

// do sends a request, with the cookies and as a form if there is one, and returns the answer
// with what it says. It follows no redirect.
func (w *personAt) do(address, basic string, form url.Values) (*http.Response, string, error) {
	to, err := url.Parse(address)
	if err != nil {
		return nil, "", err
	}
	var b strings.Builder
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, to.RequestURI(), to.Host)
	if basic != "" {
		b.WriteString("Authorization: Basic " + basic + "\r\n")
	} else {
		b.WriteString("Accept: text/html\r\nCookie: ")
		separator := ""
		for name, value := range w.cookies {
			b.WriteString(separator + name + "=" + value)
			separator = "; "
		}
		b.WriteString("\r\n")
	}
	if form != nil {
		text := form.Encode()
		fmt.Fprintf(&b, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	} else {
		b.WriteString("\r\n")
	}
	res, err := w.send(to.Host, b.String())
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if basic == "" {
		w.keep(res.Cookies())
	}
	return res, string(page), err
}

// send sends a request on the connection there is, or on a new one if the server has ended that.
func (w *personAt) send(host, request string) (res *http.Response, err error) {
	for range 2 {
		if w.conn == nil {
			if w.conn, err = net.Dial("tcp", host); err != nil {
				return nil, err
			}
			w.answer = bufio.NewReader(w.conn)
		}
		if _, err = io.WriteString(w.conn, request); err == nil {
			if res, err = http.ReadResponse(w.answer, nil); err == nil {
				return res, nil
			}
		}
		w.conn.Close()
		if w.conn = nil; !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	return nil, err
}
