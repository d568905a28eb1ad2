//! Where a server listens: the addresses that it was given, and the socket for operators.

use std::{fs, io, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path};

use relay_net::serve::Listener;
use tokio::net::UnixListener;

use crate::start_error::StartError;

/// Where it listens.
///
/// # Errors
/// That cannot be told.
pub(super) fn addr_of(listener: &Listener, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Bind { addr: asked.to_string(), source })
}

/// Binds `DATA_DIR/admin.sock` for the owner alone. The data directory is locked by now, so a socket that is there is a
/// dead one's.
///
/// # Errors
/// It cannot be made there.
pub(super) fn bind_socket(data_dir: &Path) -> Result<UnixListener, StartError> {
    let path = data_dir.join("admin.sock");
    let failed = |source| StartError::Bind { addr: path.display().to_string(), source };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    // Bound under another name and moved once nobody else may open it.
    let fresh = data_dir.join("admin.sock.new");
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(failed)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&fresh, &path).map_err(failed)?;
    Ok(listener)
}
