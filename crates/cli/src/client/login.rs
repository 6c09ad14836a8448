//! Who asks.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::json;

use super::{ANSWERS_WITHIN, Client, is_of_this_machine};
use crate::{
    config::Home,
    failure::{Exit, Failure},
};

/// A token from logging in is good for an hour.
const LOG_IN_EVERY: Duration = Duration::from_secs(30 * 60);

impl Client {
    /// The token that was given, or one from logging in: anew before the server takes it no longer.
    pub(super) async fn token(&self) -> Result<String> {
        if let Some(token) = &self.given {
            return Ok(token.clone());
        }
        let mut known = self.token.lock().await;
        let fresh = |(_, at): &(String, SystemTime)| at.elapsed().is_ok_and(|age| age < LOG_IN_EVERY);
        if let Some((token, _)) = known.as_ref().filter(|known| fresh(known)) {
            return Ok(token.clone());
        }
        let at = SystemTime::now();
        let token = self.log_in().await?;
        *known = Some((token.clone(), at));
        Ok(token)
    }

    /// A token for the first account of the home folder. Its password goes to this machine alone: whoever
    /// names another server must not hand it to whatever answers there.
    async fn log_in(&self) -> Result<String> {
        let not_allowed = |message| Failure::new(Exit::NotAllowed, message);
        let mend = "set UPDRAFT_TOKEN to one that `updraft tokens create` made";
        if !is_of_this_machine(&self.base) {
            return Err(not_allowed(format!("{} needs a token: {mend} there", self.server())).into());
        }
        let anew = "have `updraft db password` make a new password, as the server's user and with its --home";
        let path = Home::admin_password_in(&self.home);
        let password = std::fs::read_to_string(&path).map_err(|error| {
            let path = path.display();
            let begin = "start a server with that home (`updraft standalone`), if none is there yet";
            not_allowed(format!("no token, and {path} can't be read ({error}): {begin}; {mend}, or {anew}"))
        })?;
        let body = json!({ "username": "admin", "password": password.trim() });
        let request = self.http.post(self.url(["auth", "token", "cli"].into_iter())).json(&body);
        let response = self.checked(request.timeout(ANSWERS_WITHIN)).await;
        let response = response.map_err(|error| match Failure::is(&error, Exit::NotAllowed) {
            true => {
                let (server, path) = (self.server(), path.display());
                not_allowed(format!(
                    "{server} does not take the password in {path} ({error}): {mend}, or {anew}"
                ))
                .into()
            }
            false => error,
        })?;
        let answer = self.read(response).await?;
        let token = answer["access_token"].as_str().context("the server gave no token")?;
        Ok(token.to_owned())
    }
}
