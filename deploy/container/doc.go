// Package container is how Penname runs in containers, and on Kubernetes by the chart in
// deploy/helm.
package container
