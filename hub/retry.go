package hub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// A temporaryError is a failure that may pass.
type temporaryError struct {
	err   error
	after time.Duration // that the server asks to wait
}

func (e *temporaryError) Error() string { return e.err.Error() }

func (e *temporaryError) Unwrap() error { return e.err }

// unreachable reports whether an error says that the hub is not to be had: no network, or a hub that is down.
func unreachable(err error) bool {
	var t *temporaryError
	return errors.As(err, &t)
}

// attempts repeats try until it succeeds, fails for good, or has failed more than so many times in a row without getting
// further. It waits longer from one failure to the next, and as long as the server asks. The end of ctx ends it.
func (c *Client) attempts(ctx context.Context, retries int, try func() (further bool, err error)) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval, wait.Multiplier = c.o.RetryWait, max(maxWait, c.o.RetryWait), 2
	wait.Reset()
	for failed := 0; ; {
		further, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var t *temporaryError
		if !errors.As(err, &t) {
			return err
		}
		if further {
			failed = 0
			wait.Reset()
		}
		failed++
		if failed > max(0, retries) {
			return fmt.Errorf("%w (%d times in a row: try again later)", err, failed)
		}
		if t.after > maxRetryAfter {
			return fmt.Errorf("%w and asks to wait %s: try again then", err, t.after.Round(time.Second))
		}
		if err := sleep(ctx, max(wait.NextBackOff(), t.after)); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
