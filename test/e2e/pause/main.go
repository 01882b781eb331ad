// Command pause holds the namespaces of a pod until it is asked to end. It is the process of the pause image that a container
// runtime starts before the containers of a pod.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
