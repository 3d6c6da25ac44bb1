package main

import (
	"fmt"
	"strings"
)

// printColumns prints a line of tab-separated columns.
func printColumns(env *environment, columns ...string) error {
	for i, c := range columns {
		columns[i] = singleLine(c)
	}
	_, err := fmt.Fprintln(env.stdout, strings.Join(columns, "\t"))
	return err
}
