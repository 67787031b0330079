package sns

import "net/http"

// LoopbackClient is the client that a service has if it is given none.
func LoopbackClient() *http.Client { return loopbackClient(false) }
