package desk

import (
	"bytes"
	"errors"
	"image"
	_ "image/gif"  // what is drawn anew
	_ "image/jpeg" // …
	"image/png"
	"io"

	_ "golang.org/x/image/webp" // …

	"github.com/penname/penname/verifier/refusal"
)

// ErrPicture is of a picture that is not shown.
var ErrPicture = refusal.New(refusal.Invalid, "desk.bad_picture",
	"the picture cannot be drawn: it is broken, of a kind that this program does not draw, or has more than 40 million points; save it, and look at it in a program that you trust with it")

// The bounds of a picture.
const (
	MaxPicture = 20 << 20   // bytes, of what was published
	maxPoints  = 40_000_000 // of it
	maxSide    = 1600       // of what is shown
	maxDrawn   = 16 << 20   // bytes of it
)

// Picture reads a GIF (its first frame), JPEG, PNG or WebP that stands still and writes it as a PNG that has nothing of
// it but its points, at most 1,600 wide and high. What a small file makes a large picture of
// ([ErrPicture]) is refused before it is read. It is for a process of its own: what the decoders
// could be made to do, happens there.
func Picture(w io.Writer, r io.Reader) error {
	content, err := io.ReadAll(io.LimitReader(r, MaxPicture+1))
	if err != nil || len(content) > MaxPicture {
		return ErrPicture.Because(errors.Join(err, errors.New("it is too long")))
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil || c.Width < 1 || c.Height < 1 || c.Width > maxPoints/c.Height {
		return ErrPicture.Because(err)
	}
	full, _, err := image.Decode(bytes.NewReader(content))
	if err != nil {
		return ErrPicture.Because(err)
	}
	return png.Encode(w, smaller(full))
}

// smaller draws a picture with every n-th of its points.
func smaller(full image.Image) image.Image {
	b := full.Bounds()
	n := max(1, (max(b.Dx(), b.Dy())+maxSide-1)/maxSide)
	small := image.NewNRGBA(image.Rect(0, 0, (b.Dx()+n-1)/n, (b.Dy()+n-1)/n))
	for y := b.Min.Y; y < b.Max.Y; y += n {
		for x := b.Min.X; x < b.Max.X; x += n {
			small.Set((x-b.Min.X)/n, (y-b.Min.Y)/n, full.At(x, y))
		}
	}
	return small
}

// Drawn checks what such a process wrote: one PNG within the bounds.
func Drawn(content []byte) error {
	c, err := png.DecodeConfig(bytes.NewReader(content))
	if err != nil || c.Width > maxSide || c.Height > maxSide || len(content) > maxDrawn {
		return ErrPicture.Because(err)
	}
	return nil
}
