package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// maxHeader is the most bytes of a request's header. net/http adds 4 KiB of its own.
const maxHeader = 60 << 10

// Serve answers connections of a listener, which it closes, until ctx ends. Then it stops accepting, answers every
// request that it has accepted, those that cannot be computed in time with 503, and returns nil within 30 seconds. An
// error is one of the listener, or says why its address is refused: see CheckAddress. A Server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if _, ok := ln.Addr().(*net.TCPAddr); ok {
		if err := CheckAddress(ln.Addr().String(), make([]string, len(s.keys))); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: s.times.header, IdleTimeout: s.times.idle, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)} // what clients do wrong, with their addresses
	s.health.begin() // loads the model before the first request wants it
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		s.queue.cancel()
		s.health.stop()
		s.health.wait.Wait()
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	s.shutdown(srv)
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shutdown ends an http.Server whose requests are still to be answered.
func (s *Server) shutdown(srv *http.Server) {
	s.health.stop()
	drain := time.AfterFunc(s.times.drain, s.queue.abandon)
	halt := time.AfterFunc(s.times.halt, s.queue.cancel)
	defer drain.Stop()
	defer halt.Stop()
	end, cancel := context.WithTimeout(context.Background(), s.times.end)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		s.log.Warn("connections were cut at the end", "error", err)
		_ = srv.Close()
	}
	s.queue.cancel()
	s.health.wait.Wait()
}
