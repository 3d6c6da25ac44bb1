package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/cmd/incidentd/importer"
	"github.com/incidentd/incidentd/configs"
)

func newImportCommand(env *environment) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Submit the incidents of a file",
		Long: `Submits the incidents of a file to a running server: JSON lines with the members title
and description, and if you like status and category; or CSV with a header of these names.
Files written by export can be imported as well: the members that belong to the server are
ignored, and so is a category that the model chose.

Rows that are refused go to FILE.rejected.jsonl, each with its line and the reasons, and the
others are imported; the exit code is 1. Mend them there and import that file.

An import that was interrupted is taken up by giving the same command again within 24 hours:
what is there already is not imported twice. A changed file is another import.

The account is that of --email, whose password is asked for on the terminal or read with
--password-stdin, or that of a --token.`,
		Example: `  incidentd import incidents.csv --email ana@example.org
  incidentd import incidents.jsonl --url https://incidents.example.org --email ana@example.org --password-stdin < password.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(env, cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.url, "url", "", "address of the server (default: where the configuration says that it listens)")
	flags.StringVar(&o.email, "email", "", "e-mail address of the account")
	flags.StringVar(&o.token, "token", "", "access token, instead of an e-mail address and a password")
	flags.StringVar(&o.format, "format", "", "jsonl or csv (default: by the name of the file)")
	passwordFlag(cmd, &o.fromStdin)
	return cmd
}

type importOptions struct {
	url, email, token, format string
	fromStdin                 bool
}

func (o *importOptions) run(env *environment, cmd *cobra.Command, file string) error {
	config, _, err := env.load(cmd)
	if err != nil {
		return err
	}
	cfg := importer.Config{File: file, URL: o.url, Format: importer.Format(o.format)}
	if cfg.URL == "" {
		cfg.URL = listenURL(config)
	}
	if err := o.check(&cfg); err != nil {
		return err
	}
	if cfg.Account, err = o.account(cmd.Context(), env); err != nil {
		return ended(cmd.Context(), err)
	}
	o.warnPlain(env, cfg.URL)
	shown := noBar()
	if isTerminal(env.stderr) {
		shown = newBar(env.stderr, 0, "importing", true)
	}
	cfg.Notify = func(message string) {
		shown.clear()
		fmt.Fprintf(env.stderr, "incidentd: %s\n", message)
	}
	cfg.Progress = func(p importer.Progress) {
		shown.resize(p.Size)
		shown.describe(fmt.Sprintf("%d imported, %d rejected", p.Imported, p.Rejected))
		shown.set(p.Bytes)
	}
	summary, err := importer.Run(cmd.Context(), cfg)
	shown.end()
	return o.report(env, file, summary, err)
}

// listenURL is the address at which the configured API is reached.
func listenURL(config configs.Config) string {
	scheme := "http"
	if config.HTTP.TLSCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(config.HTTP.Listen)
	if err != nil {
		return scheme + "://" + config.HTTP.Listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

func (o *importOptions) check(cfg *importer.Config) error {
	if u, err := url.Parse(cfg.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usagef("--url %q is no address of the form http://host:port", cfg.URL)
	}
	switch cfg.Format {
	case importer.JSONL, importer.CSV:
	case "":
		if _, ok := importer.FormatOf(cfg.File); !ok {
			return usagef("the name %q ends neither in .jsonl nor in .csv; give --format", cfg.File)
		}
	default:
		return usagef("the format %.40q is neither jsonl nor csv", o.format)
	}
	switch {
	case o.email == "" && o.token == "":
		return usagef("say who imports: --email ADDRESS, or --token TOKEN")
	case o.email != "" && o.token != "":
		return usagef("give either --email or --token, not both")
	case o.token != "" && o.fromStdin:
		return usagef("--password-stdin goes with --email, not with --token")
	}
	return nil
}

func (o *importOptions) account(ctx context.Context, env *environment) (importer.Account, error) {
	if o.token != "" {
		return importer.Account{Token: o.token}, nil
	}
	account := importer.Account{Email: o.email}
	var err error
	switch {
	case o.fromStdin:
		account.Password, err = readPassword(env)
	case isTerminal(env.stdin):
		account.Password, err = askSecret(ctx, env, "Password of "+singleLine(o.email)+": ")
	default:
		err = usagef("there is no terminal to ask for the password on; give it on the standard input with --password-stdin")
	}
	return account, err
}

// warnPlain says when a password or a token crosses a network in the open.
func (o *importOptions) warnPlain(env *environment, address string) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "https" || configs.Loopback(net.JoinHostPort(u.Hostname(), "80")) {
		return
	}
	fmt.Fprintf(env.stderr, "incidentd: the account's secret goes to %s unencrypted; prefer https\n", u.Host)
}

// report prints what was done, also when it was not all.
func (o *importOptions) report(env *environment, file string, s importer.Summary, err error) error {
	started := s.Imported+s.Rejected > 0
	if err == nil || started {
		line := fmt.Sprintf("imported %d", s.Imported)
		if s.Repeated > 0 {
			line += fmt.Sprintf(" (%d of them before)", s.Repeated)
		}
		line += fmt.Sprintf(", rejected %d", s.Rejected)
		if s.Rejected > 0 {
			line += fmt.Sprintf(" (see %s.rejected.jsonl)", file)
		}
		if _, err := fmt.Fprintln(env.stdout, line); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, importer.ErrStopped):
		return fmt.Errorf("%w before the end of %s; give the same command again within 24 hours to go on", err, file)
	case err != nil && started:
		return fmt.Errorf("%w; then give the same command again within 24 hours to go on", err)
	case err != nil:
		return err
	case s.Rejected > 0:
		return errReported
	}
	return nil
}
