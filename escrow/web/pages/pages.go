// Package pages has the look of every page, for who makes pages without the edge.
package pages

import _ "embed"

// Style is the style sheet of every page, and Icon the picture in the tab (SVG).
var (
	//go:embed style.css
	Style []byte
	//go:embed icon.svg
	Icon []byte
)
