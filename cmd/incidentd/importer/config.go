package importer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Config says what is imported and where to.
type Config struct {
	// File is a regular file; its format is told by its name unless Format is set.
	File   string
	Format Format
	// URL is the address of the API, http://host:port.
	URL     string
	Account Account
	// Rejected is where bad rows go; empty = File with .rejected.jsonl behind it. It is made when the first one comes.
	Rejected string
	// Parallel is the number of requests at a time; 0 = 4.
	Parallel int
	// Patience is how long a request is repeated while the server does not answer or asks to wait; 0 = 5 minutes.
	Patience time.Duration
	// Grace is how long requests under way may go on once the import is told to stop; 0 = 10 seconds.
	Grace time.Duration
	// Progress is told how far the import is, from one goroutine; nil = nobody.
	Progress func(Progress)
	// Notify gets a sentence when the import has to wait; nil = nobody. It is called from several goroutines.
	Notify func(message string)
	// Wait waits, and returns the context's error if that ends first; nil = a timer.
	Wait func(ctx context.Context, d time.Duration) error
	// Transport replaces the default one; nil = http.DefaultTransport with as many idle connections as Parallel.
	Transport http.RoundTripper
}

// Progress is how far an import is.
type Progress struct {
	// Bytes of Size are done with.
	Bytes, Size int64
	Summary
}

// Summary counts rows.
type Summary struct {
	// Imported rows are incidents now. Repeated says how many of them an earlier run had imported.
	Imported, Repeated int
	// Rejected rows are in the file of rejected rows.
	Rejected int
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var errs []error
	if c.File == "" {
		errs = append(errs, errors.New("the file is missing"))
	}
	if c.URL == "" {
		errs = append(errs, errors.New("the address of the server is missing"))
	}
	if (c.Account.Token == "") == (c.Account.Email == "") {
		errs = append(errs, errors.New("give either a token or an e-mail address"))
	}
	if c.Parallel < 0 || c.Parallel > 64 {
		errs = append(errs, fmt.Errorf("%d requests at a time are not between 1 and 64", c.Parallel))
	}
	if c.Patience < 0 || c.Grace < 0 {
		errs = append(errs, errors.New("patience and grace must not be negative"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Rejected == "" {
		c.Rejected = c.File + ".rejected.jsonl"
	}
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Minute
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Notify == nil {
		c.Notify = func(string) {}
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	return c
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
