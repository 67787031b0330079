package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints a script that the shell reads: source <(gas completion bash).
func (c *completionCmd) Run(k *kong.Context, std streams) error {
	words := map[string][]string{}
	var order []string
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		order = append(order, path)
		for _, child := range n.Children {
			if child.Type == kong.CommandNode && !child.Hidden {
				words[path] = append(words[path], child.Name)
				walk(child, strings.TrimSpace(path+" "+child.Name))
			}
		}
		for _, group := range n.AllFlags(true) {
			for _, flag := range group {
				words[path] = append(words[path], "--"+flag.Name)
			}
		}
	}
	walk(k.Model.Node, "")
	if c.Shell == "fish" {
		for _, path := range order {
			seen := "__fish_use_subcommand"
			if path != "" {
				seen = "__fish_seen_subcommand_from " + path[strings.LastIndexByte(path, ' ')+1:]
			}
			if _, err := fmt.Fprintf(std.out, "complete -c gas -f -n '%s' -a '%s'\n", seen, strings.Join(words[path], " ")); err != nil {
				return err
			}
		}
		return nil
	}
	if c.Shell == "zsh" {
		fmt.Fprintln(std.out, "autoload -U +X bashcompinit && bashcompinit")
	}
	return bashCompletion(std.out, order, words)
}

func bashCompletion(out io.Writer, order []string, words map[string][]string) error {
	var steps, answers strings.Builder
	for _, path := range order {
		if path != "" {
			fmt.Fprintf(&steps, "      '%s') at='%s' ;;\n", path, path)
		}
		fmt.Fprintf(&answers, "    '%s') all='%s' ;;\n", path, strings.Join(words[path], " "))
	}
	_, err := fmt.Fprintf(out, `_gas() {
  local cur="${COMP_WORDS[COMP_CWORD]}" at='' all='' w
  for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "${at:+$at }$w" in
%s    esac
  done
  case "$at" in
%s  esac
  COMPREPLY=($(compgen -W "$all" -- "$cur"))
}
complete -F _gas gas
`, steps.String(), answers.String())
	return err
}
