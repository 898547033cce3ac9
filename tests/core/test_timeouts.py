def test_a_handler_that_a_quota_keeps_away_ends_all_the_same() -> None:
    spec = workflow(step("a"), on_failure=step("alarm", start_timeout="1m"))
    drive = Drive(spec).until_quiet()
    name = names.pod("hello-1", UID, "alarm", 1)
    drive.refusals[name] = Refusal("QuotaExceeded", "pods=1", False, NOW, seconds(60), NOW + seconds(3600))
    drive.fail("a")
    assert drive.phases["alarm"] == "Pending"
    drive.pass_time(60)
    assert (drive.step("alarm").phase, drive.step("alarm").reason) == ("Failed", "StartTimeout")
    assert "QuotaExceeded" in (drive.step("alarm").message or "")
    assert drive.phase == "Failed"
