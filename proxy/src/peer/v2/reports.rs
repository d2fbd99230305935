//! The calls in which an agent reports connections, from their message until they are answered.

use tailnet_v2::yamux::StreamId;
use uuid::Uuid;

use crate::message::Report;

/// The open calls. A connection has few calls, so they are searched.
#[derive(Debug, Default)]
pub struct Reports {
    /// The ids of the reports that are not written yet, and their calls.
    calls: Vec<(Uuid, StreamId)>,
    /// Those that the session has not heard.
    unheard: Vec<Report>,
}

impl Reports {
    /// A call brought its report.
    pub fn begin(&mut self, call: StreamId, report: Report) {
        self.calls.push((report.id, call));
        self.unheard.push(report);
    }

    /// A call ended. Nobody waits for its report any more, and an agent repeats what was not acknowledged.
    pub fn end(&mut self, call: StreamId) {
        for (id, _) in self.calls.extract_if(.., |(_, reporting)| *reporting == call) {
            self.unheard.retain(|report| report.id != id);
        }
    }

    /// Whether the session has not heard all.
    pub fn has_unheard(&self) -> bool {
        !self.unheard.is_empty()
    }

    /// The reports that the session is to hear.
    pub fn take_unheard(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.unheard)
    }

    /// The call that waits for this report, which is done.
    pub fn done(&mut self, report: Uuid) -> Option<StreamId> {
        let place = self.calls.iter().position(|(waiting, _)| *waiting == report)?;
        Some(self.calls.swap_remove(place).1)
    }

    /// All calls. No report is heard or done any more.
    pub fn give_up(&mut self) -> impl Iterator<Item = StreamId> {
        self.unheard.clear();
        std::mem::take(&mut self.calls).into_iter().map(|(_, call)| call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: u128) -> Report {
        Report { id: Uuid::from_u128(id), event: Err("only its id matters".to_owned()), awaited: true }
    }

    fn ids(reports: &mut Reports) -> Vec<u128> {
        reports.take_unheard().into_iter().map(|report| report.id.as_u128()).collect()
    }

    #[test]
    fn a_report_is_heard_once_and_done_once() {
        let mut reports = Reports::default();
        reports.begin(1, report(10));
        reports.begin(3, report(30));
        assert_eq!((reports.has_unheard(), ids(&mut reports)), (true, vec![10, 30]));
        assert_eq!((reports.has_unheard(), ids(&mut reports)), (false, vec![]));
        assert_eq!(reports.done(Uuid::from_u128(30)), Some(3));
        assert_eq!(reports.done(Uuid::from_u128(30)), None);
        assert_eq!(reports.give_up().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn b119_the_report_of_a_call_that_was_reset_is_not_heard_and_its_end_is_told_to_nobody() {
        let mut reports = Reports::default();
        reports.begin(1, report(10));
        reports.begin(3, report(30));
        reports.end(1);
        assert_eq!(ids(&mut reports), [30]);
        reports.end(3);
        assert_eq!(reports.done(Uuid::from_u128(30)), None);
        assert_eq!(reports.give_up().count(), 0);
    }

    #[test]
    fn b119_reports_that_are_given_up_are_not_heard() {
        let mut reports = Reports::default();
        reports.begin(1, report(10));
        assert_eq!(reports.give_up().collect::<Vec<_>>(), [1]);
        assert_eq!((reports.has_unheard(), reports.done(Uuid::from_u128(10))), (false, None));
    }
}
