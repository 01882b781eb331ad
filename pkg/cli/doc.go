// Package cli holds the commands of kubectl federate.
package cli
