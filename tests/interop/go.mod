module example.org/pg_tailnet/interop

go 1.24

require (
	github.com/coder/websocket v1.8.14
	github.com/google/uuid v1.6.0
	github.com/hashicorp/yamux v0.1.2
	github.com/jackc/pgx/v5 v5.7.6
	google.golang.org/protobuf v1.36.10
	storj.io/drpc v0.0.34
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/zeebo/errs v1.2.2 // indirect
	golang.org/x/crypto v0.37.0 // indirect
	golang.org/x/text v0.24.0 // indirect
)
