// Package configs is the configuration of the program: one table of settings
// (settings.go), read from the defaults, a YAML file, the environment and the
// command line's flags, each above the one before.
//
// Every mistake is found in one go and names its key. A key that the file has
// and the table has not is a mistake; so is a key that occurs twice. Nothing is
// read from the working folder unless it is named.
//
// The package knows what the settings mean to the operator. What a component
// does with them is the component's business: app turns them into parts, and
// nothing else imports this package.
package configs
