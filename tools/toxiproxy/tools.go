//go:build tools

// Package tools pins toxiproxy-server: go.mod says which version, go.sum which bytes.
// Nothing compiles this file; build.py builds the imported command.
package tools

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
