package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// deployment is the catalog and the bus that the environment names.
type deployment struct {
	cfg     config.Config
	catalog *dynamodb.Catalog
	bus     *bus.Bus
	prices  cost.Prices
	aws     aws.Config
}

// deployed connects to the deployment as the operator. The caller must close it.
func deployed(ctx context.Context, name string, services ...config.Service) (*deployment, error) {
	cfg, err := config.Load(services...)
	if err != nil {
		return nil, err
	}
	sdk, err := awsclient.Load(ctx, awsclient.Options{})
	if err != nil {
		return nil, err
	}
	prices, err := wiring.Prices(cfg, sdk.Region)
	if err != nil {
		return nil, err
	}
	b, err := operatorBus(ctx, cfg, name)
	if err != nil {
		return nil, err
	}
	return &deployment{cfg, dynamodb.New(sdk, wiring.Tables(cfg)), b, prices, sdk}, nil
}

func (d *deployment) close() { d.bus.Close() }

// account returns the user's account. The error says so if the user is unknown.
func (d *deployment) account(ctx context.Context, user events.UserID) (archive.Account, error) {
	a, err := d.catalog.Account(ctx, user)
	if fault.Is(err, fault.NotFound) {
		return a, fmt.Errorf("unknown user %q: no such account", user)
	}
	return a, err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// showTime returns t for people, or - for the zero time.
func showTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
