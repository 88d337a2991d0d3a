// Package prometheus is the rules by which Prometheus tells an operator what to act on.
package prometheus
