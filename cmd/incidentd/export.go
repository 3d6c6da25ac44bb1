package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/api"
	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/store"
)

func newExportCommand(env *environment) *cobra.Command {
	o := exportOptions{format: "jsonl"}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all incidents as JSON lines or CSV",
		Long: `Writes all incidents in the order of their ids, as JSON lines in the form of
GET /incidents, or as CSV. It reads the database, also beside a running serve.

A spreadsheet takes cells that begin with = + - @ for formulas; with --spreadsheet-safe
they get an apostrophe in front.`,
		Example: `  incidentd export > incidents.jsonl
  incidentd export --format csv --spreadsheet-safe -o incidents.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(env, cmd) },
	}
	cmd.Flags().StringVar(&o.format, "format", o.format, "jsonl or csv")
	cmd.Flags().BoolVar(&o.safe, "spreadsheet-safe", false, "defuse cells that a spreadsheet would take for formulas (csv)")
	cmd.Flags().StringVarP(&o.file, "output", "o", "", "file to write (default: the standard output)")
	return cmd
}

type exportOptions struct {
	format string
	safe   bool
	file   string
}

func (o *exportOptions) run(env *environment, cmd *cobra.Command) error {
	switch {
	case o.format != "jsonl" && o.format != "csv":
		return usagef("the format %.40q is neither jsonl nor csv", o.format)
	case o.safe && o.format != "csv":
		return usagef("--spreadsheet-safe needs --format csv")
	case cmd.Flags().Changed("output") && o.file == "":
		return usagef("the name of the output file is empty")
	}
	config, _, err := env.load(cmd)
	if err != nil {
		return err
	}
	if err := databaseExists(config); err != nil {
		return err
	}
	return withStore(env, cmd, func(ctx context.Context, s store.Store) error {
		if o.file == "" {
			err := o.write(ctx, env, s, env.stdout, isTerminal(env.stderr) && !isTerminal(env.stdout))
			if errors.Is(err, errOutputClosed) {
				return nil
			}
			return err
		}
		return replaceFile(o.file, func(w io.Writer) error { return o.write(ctx, env, s, w, isTerminal(env.stderr)) })
	})
}

// databaseExists keeps a command that only reads from making an empty database.
func databaseExists(config configs.Config) error {
	path := config.DatabasePath()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database %s; name the data folder with --data-dir", path)
	}
	return nil
}

// replaceFile writes a file of mode 0600 that is there whole or not at all.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".export-*")
	if err != nil {
		return fmt.Errorf("make the output file: %w", err)
	}
	err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// incidentWriter writes incidents in one format.
type incidentWriter interface {
	write(i *store.Incident) error
	flush() error
}

// write writes all incidents, one page in memory at a time. A row that is changed in the meantime is written as it was
// or as it is, once.
func (o *exportOptions) write(ctx context.Context, env *environment, s store.Incidents, w io.Writer, showProgress bool) error {
	var out incidentWriter = newJSONWriter(w)
	if o.format == "csv" {
		out = newCSVWriter(w, o.safe)
	}
	bar := noBar()
	if showProgress {
		stats, err := s.Stats(ctx, store.Scope{})
		if err != nil {
			return err
		}
		bar = newBar(env.stderr, stats.Total, "exporting", false)
	}
	defer bar.end()
	// Ids rise with the times of creation, so this is the order of ids as well.
	query := store.IncidentQuery{Sort: store.SortCreatedAsc, Limit: pageSize}
	for {
		page, err := s.Incidents(ctx, query)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := out.write(&page.Items[i]); err != nil {
				return outputError(err)
			}
		}
		bar.add(int64(len(page.Items)))
		if !page.More || len(page.Items) == 0 {
			break
		}
		last := &page.Items[len(page.Items)-1]
		query.After = &store.Position{At: last.CreatedAt, ID: last.ID}
	}
	if err := out.flush(); err != nil {
		return outputError(err)
	}
	return nil
}

// jsonWriter writes JSON lines.
type jsonWriter struct {
	out *bufio.Writer
	buf bytes.Buffer
}

func newJSONWriter(w io.Writer) *jsonWriter { return &jsonWriter{out: bufio.NewWriterSize(w, 64<<10)} }

func (j *jsonWriter) write(i *store.Incident) error {
	j.buf.Reset()
	if err := api.WriteIncident(&j.buf, i); err != nil {
		return err
	}
	_, err := j.out.Write(j.buf.Bytes())
	return err
}

func (j *jsonWriter) flush() error { return j.out.Flush() }

// csvWriter writes CSV with a header.
type csvWriter struct {
	out    *csv.Writer
	safe   bool
	header bool
	record []string
}

func newCSVWriter(w io.Writer, safe bool) *csvWriter {
	return &csvWriter{out: csv.NewWriter(w), safe: safe}
}

const csvHeader = "id,title,description,status,category,state,confidence,needs_review,revision,user_id,created_at,updated_at"

func (c *csvWriter) writeHeader() error {
	if c.header {
		return nil
	}
	c.header = true
	return c.out.Write(strings.Split(csvHeader, ","))
}

func (c *csvWriter) write(i *store.Incident) error {
	if err := c.writeHeader(); err != nil {
		return err
	}
	category, confidence := "", ""
	if i.Category != nil {
		category = *i.Category
	}
	k := &i.Classification
	if k.Confidence != nil {
		confidence = strconv.FormatFloat(*k.Confidence, 'g', -1, 64)
	}
	c.record = append(c.record[:0],
		strconv.FormatInt(i.ID, 10), c.cell(i.Title), c.cell(i.Description), string(i.Status), c.cell(category),
		string(k.State), confidence, strconv.FormatBool(k.NeedsReview), strconv.FormatInt(i.Revision, 10),
		strconv.FormatInt(i.UserID, 10), api.FormatTime(i.CreatedAt), api.FormatTime(i.UpdatedAt))
	return c.out.Write(c.record)
}

// cell defuses what a spreadsheet would take for a formula.
func (c *csvWriter) cell(text string) string {
	if c.safe && text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

func (c *csvWriter) flush() error {
	if err := c.writeHeader(); err != nil {
		return err
	}
	c.out.Flush()
	return c.out.Error()
}
