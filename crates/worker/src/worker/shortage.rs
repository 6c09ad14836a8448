//! What becomes of an attempt whose worker is short of something of the machine when it is to begin it: of descriptors,
//! processes, memory, room on a disk. That says nothing of the task, and may be over in a moment. So it is waited for; and
//! after a while the attempt is given back, since another worker may have what this one has not.

use std::{fmt::Display, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use updraft_core::input::AttemptEnd;

use super::wanted::Wanted;
use crate::process::SpawnError;

/// How long is waited for what a worker is short of.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Between the first two tries; each pause is twice as long as the one before,
    first: Duration,
    /// up to this.
    longest: Duration,
    /// From the first try to the last.
    whole: Duration,
}

impl Patience {
    /// That of a worker.
    pub const USUAL: Self = Self {
        first: Duration::from_millis(250),
        longest: Duration::from_secs(5),
        whole: Duration::from_secs(60),
    };
}

/// Why something was not begun.
#[derive(Debug)]
pub(super) struct Unbegun {
    why: String,
    /// What of the machine there was too little of.
    short_of: Option<&'static str>,
    end: AttemptEnd,
}

impl From<SpawnError> for Unbegun {
    fn from(error: SpawnError) -> Self {
        let end = match error {
            // It was begun, and nobody knows what it has done.
            SpawnError::Unwatched { .. } => AttemptEnd::Lost,
            _ => AttemptEnd::Failed,
        };
        Self { why: error.to_string(), short_of: error.short_of(), end }
    }
}

impl From<String> for Unbegun {
    fn from(why: String) -> Self {
        Self { why, short_of: None, end: AttemptEnd::Failed }
    }
}

/// How an attempt ends that was not begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotBegun {
    pub end: AttemptEnd,
    pub message: Option<String>,
}

/// Begins something, as soon as there is of the machine what that needs. What is waited for is told.
pub(super) async fn begun<T, F: Future<Output = Result<T, Unbegun>>>(
    patience: Patience,
    mut begin: impl FnMut() -> F,
    mut wanted: watch::Receiver<Wanted>,
    tell: impl Fn(&dyn Display),
) -> Result<T, NotBegun> {
    let since = Instant::now();
    let mut pause = patience.first;
    loop {
        let Unbegun { why, short_of, end } = match begin().await {
            Ok(begun) => return Ok(begun),
            Err(unbegun) => unbegun,
        };
        let Some(what) = short_of else {
            return Err(NotBegun { end, message: Some(why) });
        };
        if since.elapsed() + pause > patience.whole {
            let waited = patience.whole;
            let message = format!("it was not begun: for {waited:?} its worker was short of {what}: {why}");
            return Err(NotBegun { end: AttemptEnd::Lost, message: Some(message) });
        }
        tell(&format_args!(
            "It is not begun yet: {why}. Its worker is short of {what}, which is no fault of the task's: trying again in \
             {pause:?}."
        ));
        // Only between two tries: what is being begun is known of when that is over.
        tokio::select! {
            () = sleep(pause) => {}
            _ = wanted.wait_for(|wanted| matches!(wanted, Wanted::End(_))) => {
                return Err(NotBegun { end: AttemptEnd::Cancelled, message: None });
            }
        }
        pause = (pause * 2).min(patience.longest);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        io,
    };

    use super::*;

    fn short() -> Unbegun {
        let source = io::Error::from_raw_os_error(libc::EMFILE);
        SpawnError::System { doing: "make a pipe", source }.into()
    }

    #[tokio::test]
    async fn it_is_tried_again_with_growing_pauses_and_given_back_as_lost_after_a_while() {
        let (_wants, wanted) = watch::channel(Wanted::Run);
        let [first, longest, whole] = [5, 20, 200].map(Duration::from_millis);
        let (tries, told) = (Cell::new(0), RefCell::new(Vec::new()));
        let begin = || {
            tries.set(tries.get() + 1);
            async { Err::<(), _>(short()) }
        };
        let since = Instant::now();
        let tell = |line: &dyn Display| told.borrow_mut().push(line.to_string());
        let over = begun(Patience { first, longest, whole }, begin, wanted, tell).await.unwrap_err();
        assert!(since.elapsed() > whole - longest * 2, "{:?}", since.elapsed());
        assert_eq!(over.end, AttemptEnd::Lost);
        assert!(over.message.as_ref().is_some_and(|why| why.contains("open files")), "{over:?}");
        let told = told.into_inner();
        assert_eq!(told.len(), tries.get() - 1);
        for (line, pause) in told.iter().zip(["5ms", "10ms", "20ms", "20ms"]) {
            assert!(line.ends_with(&format!("trying again in {pause}.")), "{line}");
        }
        let Patience { first, longest, whole } = Patience::USUAL;
        assert!(first < longest && longest < Duration::from_secs(10) && whole == Duration::from_secs(60));
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_task_is_not_waited_for_and_neither_who_is_to_end() {
        let (wants, wanted) = watch::channel(Wanted::Run);
        let wrong = || async { Err::<(), _>(Unbegun::from(SpawnError::NoProgram)) };
        let again = |_: &dyn Display| panic!("it is not tried again");
        let over = begun(Patience::USUAL, wrong, wanted.clone(), again).await.unwrap_err();
        assert_eq!(over.end, AttemptEnd::Failed);
        let begin = || {
            wants.send_replace(Wanted::End(Duration::ZERO));
            async { Err::<(), _>(short()) }
        };
        let over = begun(Patience::USUAL, begin, wanted, |_: &dyn Display| {}).await.unwrap_err();
        assert_eq!(over.end, AttemptEnd::Cancelled);
    }

    #[test]
    fn what_was_begun_and_is_not_watched_is_lost_and_not_begun_again() {
        let source = io::Error::from_raw_os_error(libc::ENOMEM);
        let unbegun = Unbegun::from(SpawnError::Unwatched { source });
        assert_eq!((unbegun.end, unbegun.short_of), (AttemptEnd::Lost, None));
    }
}
