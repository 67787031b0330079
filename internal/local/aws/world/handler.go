package world

import "net/http"

// Handler serves one service alone, as the stand-in's server does for all, but without
// signatures, faults and counters. The tests of a service use it.
func Handler(s Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, err := s.Operation(r)
		if err != nil {
			s.WriteError(w, r, err)
			return
		}
		op.Serve(w, r)
	})
}
