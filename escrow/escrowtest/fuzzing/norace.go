//go:build !race

package fuzzing

const slowed = 1
