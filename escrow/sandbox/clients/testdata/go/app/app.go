// Package app is what the small apps here have in common: their settings, and a web server.
package app

import (
	"fmt"
	"net/http"
	"os"
)

// The settings.
var (
	Issuer       = os.Getenv("ISSUER")
	ClientID     = os.Getenv("CLIENT_ID")
	ClientSecret = os.Getenv("CLIENT_SECRET")
	RedirectURI  = os.Getenv("REDIRECT_URI")
	Secret       = os.Getenv("SECRET")
)

// Handle serves a page that fails with an error.
func Handle(pattern string, page func(w http.ResponseWriter, r *http.Request) error) {
	http.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := page(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// Listen serves until the process is ended.
func Listen() {
	Must(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

// Must ends the process with an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// SetCookie sets a cookie of this session.
func SetCookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true})
}

// Cookie is its value.
func Cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}
