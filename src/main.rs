//! The `keyward` command.

use std::process::ExitCode;

/// About a tenth less CPU a request than the system's allocator: Pingora allocates some seventy times for each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyward::cli::main()
}
