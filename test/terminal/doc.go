// Package terminal has a pseudo-terminal, in which a command runs as a person sees it, and the screen that it leaves.
package terminal
