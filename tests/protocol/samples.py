"""One message of each kind, with the bytes that stand for it on the wire.

The bytes are what agents in other languages are written against: a change here is a change of the
protocol.
"""

from msgspec import Struct

from shootdown_protocol import fault_messages as fm
from shootdown_protocol import messages as m
from shootdown_protocol import remote_messages as r
from shootdown_protocol import restart_messages as rm
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.faults import Fault, FaultStatus
from shootdown_protocol.process_status import ProcessRole, ProcessState, ProcessStatus
from shootdown_protocol.program import (
    Column,
    Instruction,
    Location,
    Op,
    Program,
    Speculation,
    State,
    Warm,
    When,
)

COW_TWO_PAGES = Program(
    name="cow",
    summary="The device must not see the new B before the new A.",
    mms=("mm0",),
    devices=("DEV0", "DEV2"),
    locations=(
        Location("A", 0, 0x7000_0000_0000, State.COW, 0, 0),
        Location("B", 0, 0x7000_0020_0000, State.COW, 0, 1),
    ),
    columns=(
        Column("CPU0", -1, 0, (Instruction(Op.RUN, 0, operation="wp_page_copy"),)),
        Column("CPU2", -1, 2, (Instruction(Op.STORE, 0, 1, when=When.WRITABLE),)),
        Column(
            "DEV0",
            0,
            -1,
            (Instruction(Op.AWAIT, target=1), Instruction(Op.LOAD, 0, register="r0")),
        ),
    ),
    warm=(Warm(0, 0),),
    speculation=(Speculation(1, 1),),
    bound=("wp_page_copy",),
    options={"ptl": "split"},
)

GOLDEN: tuple[tuple[Struct, str], ...] = (
    (
        m.Hello(0, 1, "token", "agent0", 4242, (m.SHARED_MEMORY,)),
        "98010001a5746f6b656ea66167656e7430cd109291ad7368617265645f6d656d6f727990",
    ),
    (
        m.Welcome(
            0,
            1,
            0,
            "shootdown-demo",
            7,
            500,
            2000,
            1,
            iotlb=True,
            atc_entries=64,
            walk_by_level=False,
        ),
        "9c02000100ae73686f6f74646f776e2d64656d6f07cd01f4cd07d001c340c2",
    ),
    (
        m.Refused(0, ErrorCode.WRONG_TOKEN, "another testbed"),
        "9403007baf616e6f746865722074657374626564",
    ),
    (
        m.LoadProgram(1, 1, COW_TWO_PAGES, 264, 512, (0, 1), "history/agent0", gated=True),
        (
            "9a0401018aa46e616d65a3636f77a773756d6d617279d93354686520646576696365206d75737420"
            "6e6f742073656520746865206e65772042206265666f726520746865206e657720412ea36d6d7391"
            "a36d6d30a76465766963657392a444455630a444455632a96c6f636174696f6e739289a46e616d65"
            "a141a26d6d00a27661cf0000700000000000a5737461746503a576616c756500a57461626c6500a6"
            "706172656e74ffa472616379c2a5616c696173ff89a46e616d65a142a26d6d00a27661cf00007000"
            "00200000a5737461746503a576616c756500a57461626c6501a6706172656e74ffa472616379c2a5"
            "616c696173ffa7636f6c756d6e739384a46e616d65a443505530a6646576696365ffa363707500ac"
            "696e737472756374696f6e73918aa26f7007a86c6f636174696f6e00a576616c756500a872656769"
            "73746572a0a47768656e00ac77726974655f696e74656e74c2a6746172676574ffa6616d6f756e74"
            "00a96f7065726174696f6eac77705f706167655f636f7079a46c696e650084a46e616d65a4435055"
            "32a6646576696365ffa363707502ac696e737472756374696f6e73918aa26f7002a86c6f63617469"
            "6f6e00a576616c756501a87265676973746572a0a47768656e01ac77726974655f696e74656e74c2"
            "a6746172676574ffa6616d6f756e7400a96f7065726174696f6ea0a46c696e650084a46e616d65a4"
            "44455630a664657669636500a3637075ffac696e737472756374696f6e73928aa26f7004a86c6f63"
            "6174696f6effa576616c756500a87265676973746572a0a47768656e00ac77726974655f696e7465"
            "6e74c2a674617267657401a6616d6f756e7400a96f7065726174696f6ea0a46c696e65008aa26f70"
            "01a86c6f636174696f6e00a576616c756500a87265676973746572a27230a47768656e00ac777269"
            "74655f696e74656e74c2a6746172676574ffa6616d6f756e7400a96f7065726174696f6ea0a46c69"
            "6e6500a47761726d9183a664657669636500a86c6f636174696f6e00ac77726974655f696e74656e"
            "74c2ab73706563756c6174696f6e9184a664657669636501a86c6f636174696f6e01ac7772697465"
            "5f696e74656e74c2a5636f756e7402a5626f756e6491ac77705f706167655f636f7079a76f707469"
            "6f6e7381a370746ca573706c6974cd0108cd0200920001ae686973746f72792f6167656e7430c390"
        ),
    ),
    (m.UnloadProgram(9, 1), "93050901"),
    (m.ProgramUnloaded(9, 1, 1000, {"walks": 4}), "95060901cd03e881a577616c6b7304"),
    (
        m.BatchBegin(
            2,
            1,
            3,
            1,
            40,
            (m.BatchSlot(256, 512, (0,), (17,)), m.BatchSlot(257, 513, (0, 1), (18,))),
        ),
        "970702010301289294cd0100cd02009100911194cd0101cd02019200019112",
    ),
    (m.BatchGo(3, 3), "93080303"),
    (r.BatchWarm(3, 3), "93090303"),
    (r.BatchDone(4, 3), "930a0403"),
    (r.SlotsStarted(4, 3, 120, (256, 257)), "950b04037892cd0100cd0101"),
    (
        r.TranslationRequests(5, (r.TranslationRequest(7, 0, 17, 0x7000_0000_0000, write=True),)),
        "9320059195070011cf0000700000000000c3",
    ),
    (
        r.TranslationCompletions(
            6,
            (
                r.TranslationCompletion(7, 0x100ABC, 12, read=True, write=False),
                r.TranslationCompletion(8, 0, 12, read=False, write=False),
            ),
        ),
        "932106929507ce00100abc0cc3c29508000cc2c2",
    ),
    (
        r.AccessRequests(6, (r.AccessRequest(9, 256, 2, 1, 0x100ABC, hit=True),)),
        "932206919609cd01000201ce00100abcc3",
    ),
    (r.AccessAnswers(7, (r.AccessAnswer(9, made=True, value=1),)), "932307919309c301"),
    (r.ColumnWaits(7, (r.ColumnWait(10, 256, 2, 0),)), "93240791940acd01000200"),
    (r.Proceed(8, (10,)), "932508910a"),
    (r.ColumnsEnded(8, (r.ColumnEnd(256, 2),)), "9326089192cd010002"),
    (r.AccessGivenUp(9, 256, 2, 1, retried=False), "962709cd01000201c2"),
    (
        r.ThreadAccessRequests(
            10,
            (
                r.ThreadAccessRequest(
                    11, 256, 0, "patrol", 1, write=False, value=0, page=0x100ABC, hit=True
                ),
            ),
        ),
        "932c0a91990bcd010000a6706174726f6c01c200ce00100abcc3",
    ),
    (
        r.ThreadAccessGivenUp(11, 256, 0, "patrol", 1, write=False, retried=False),
        "982d0bcd010000a6706174726f6c01c2c2",
    ),
    (r.Unsupported(11, (7,)), "932e0b9107"),
    (r.RegisterWrites(12, (r.RegisterWrite(256, 0, 3),)), "932f0c9193cd01000003"),
    (r.RegisterStatuses(12, (r.RegisterStatus(256, 0, 3),)), "93300c9193cd01000003"),
    (
        m.Grant(4, 0, "DEV0", "device.atc_lookup"),
        "950c0400a444455630b16465766963652e6174635f6c6f6f6b7570",
    ),
    (
        m.Granted(4, 0, "DEV0", "device.walk", made=False),
        "960d0400a444455630ab6465766963652e77616c6bc2",
    ),
    (m.GrantRest(5), "920e05"),
    (
        m.Invalidate(
            5,
            (
                m.InvalidateRequest(0, 31, 17, 0x7000_000F_F800, m.InvalidateFlag.IOTLB_FIRST, 512),
                m.InvalidateRequest(1, 0, 17, 0x7000_0000_0000, 0, -1),
            ),
        ),
        "9310059296001f11cf00007000000ff80002cd020096010011cf000070000000000000ff",
    ),
    (
        m.InvalidateCompletion(5, (m.ItagCompletion(0, 1 << 31, 1), m.ItagCompletion(1, 1, 0))),
        "931105929300ce800000000193010100",
    ),
    (
        m.PageRequests(
            6, (m.PageRequest(0, 17, 0x7000_0000_0000, 5, last=True, read=True, write=False),)
        ),
        "93120691970011cf000070000000000005c3c3c2",
    ),
    (
        m.PageResponses(6, (m.PageResponse(0, 17, 5, m.PageResponseCode.SUCCESS),)),
        "931306919400110500",
    ),
    (m.Heartbeat(7, 1), "93180701"),
    (m.HeartbeatReply(7, 1, {"beats": 90}), "9419070181a562656174735a"),
    (m.Detach(8, (1,), "asked to"), "941a089101a861736b656420746f"),
    (m.DetachDone(8, (1,)), "931b089101"),
    (
        fm.SetFaults(9, (FaultStatus(2, Fault("agent.stale", prob=0.5), 0, healed=False),)),
        (
            "9328099184a66e756d62657202a56661756c7489a46b696e64ab6167656e742e7374616c65a56167"
            "656e74a0a6746872656164a0a26174a0a26d7300a96a69747465725f6d7300a6666f725f6d7300a4"
            "70726f62cb3fe0000000000000a5636f756e7400a76170706c69656400a66865616c6564c2"
        ),
    ),
    (fm.Resend(0, 7), "93290007"),
    (rm.HandOver(9, keeps_caches=True), "932a09c3"),
    (
        rm.Legacy(
            9,
            program_number=3,
            batch=2,
            started=1,
            resumed=(rm.Resumed(0, "DEV0", 1),),
            cells=(rm.KeptCell("atc", (0, 256, 4096), (7, 1, 2, 99, 103)),),
            requests=(rm.OpenRequest(0, 5),),
            counters={"fault.1": 2},
        ),
        (
            "992b09030201919300a444455630019193a36174639300cd0100cd10009507010263679192000581"
            "a76661756c742e3102"
        ),
    ),
    (
        m.ErrorReport(10, ErrorCode.SEQUENCE_GAP, "saw 5; expected 4"),
        "941c0a79b173617720353b2065787065637465642034",
    ),
    (m.Goodbye(11, "stopped"), "931d0ba773746f70706564"),
    (
        m.Status(1, 1),
        "83a474797065a6737461747573a77265717565737401b070726f746f636f6c5f76657273696f6e01",
    ),
    (
        m.RunScenario(
            2,
            1,
            COW_TWO_PAGES,
            "clear_flush",
            20000,
            1,
            "out/history",
            schedule=(m.ScheduledStep("CPU0", "wp_page_copy.set_pte_at"),),
        ),
        (
            "8da474797065a372756ea77265717565737402b070726f746f636f6c5f76657273696f6e01a77072"
            "6f6772616d8aa46e616d65a3636f77a773756d6d617279d93354686520646576696365206d757374"
            "206e6f742073656520746865206e65772042206265666f726520746865206e657720412ea36d6d73"
            "91a36d6d30a76465766963657392a444455630a444455632a96c6f636174696f6e739289a46e616d"
            "65a141a26d6d00a27661cf0000700000000000a5737461746503a576616c756500a57461626c6500"
            "a6706172656e74ffa472616379c2a5616c696173ff89a46e616d65a142a26d6d00a27661cf000070"
            "0000200000a5737461746503a576616c756500a57461626c6501a6706172656e74ffa472616379c2"
            "a5616c696173ffa7636f6c756d6e739384a46e616d65a443505530a6646576696365ffa363707500"
            "ac696e737472756374696f6e73918aa26f7007a86c6f636174696f6e00a576616c756500a8726567"
            "6973746572a0a47768656e00ac77726974655f696e74656e74c2a6746172676574ffa6616d6f756e"
            "7400a96f7065726174696f6eac77705f706167655f636f7079a46c696e650084a46e616d65a44350"
            "5532a6646576696365ffa363707502ac696e737472756374696f6e73918aa26f7002a86c6f636174"
            "696f6e00a576616c756501a87265676973746572a0a47768656e01ac77726974655f696e74656e74"
            "c2a6746172676574ffa6616d6f756e7400a96f7065726174696f6ea0a46c696e650084a46e616d65"
            "a444455630a664657669636500a3637075ffac696e737472756374696f6e73928aa26f7004a86c6f"
            "636174696f6effa576616c756500a87265676973746572a0a47768656e00ac77726974655f696e74"
            "656e74c2a674617267657401a6616d6f756e7400a96f7065726174696f6ea0a46c696e65008aa26f"
            "7001a86c6f636174696f6e00a576616c756500a87265676973746572a27230a47768656e00ac7772"
            "6974655f696e74656e74c2a6746172676574ffa6616d6f756e7400a96f7065726174696f6ea0a46c"
            "696e6500a47761726d9183a664657669636500a86c6f636174696f6e00ac77726974655f696e7465"
            "6e74c2ab73706563756c6174696f6e9184a664657669636501a86c6f636174696f6e01ac77726974"
            "655f696e74656e74c2a5636f756e7402a5626f756e6491ac77705f706167655f636f7079a76f7074"
            "696f6e7381a370746ca573706c6974aa6469736369706c696e65ab636c6561725f666c757368a969"
            "6e7374616e636573cd4e20a47365656401a7686973746f7279ab6f75742f686973746f7279b3696e"
            "7374616e6365735f7065725f626174636800a87363686564756c659182a47461736ba443505530a4"
            "73746570b777705f706167655f636f70792e7365745f7074655f6174ae6465766963655f636c6173"
            "73657390a66d7574616e74a0a66661756c747390"
        ),
    ),
    (
        m.Abort(3, 1, 5),
        (
            "84a474797065a561626f7274a77265717565737403b070726f746f636f6c5f76657273696f6e01a3"
            "72756e05"
        ),
    ),
    (
        m.Stop(4, 1, "down"),
        (
            "84a474797065a473746f70a77265717565737404b070726f746f636f6c5f76657273696f6e01a672"
            "6561736f6ea4646f776e"
        ),
    ),
    (
        m.StatusReply(
            1,
            "demo",
            5,
            "cow",
            20000,
            (
                ProcessStatus(
                    "agent0",
                    4242,
                    ProcessRole.AGENT,
                    ProcessState.RUNNING,
                    (0, 1),
                    {"walks": 4},
                ),
            ),
        ),
        (
            "88a474797065ac7374617475735f7265706c79a77265717565737401a774657374626564a464656d"
            "6fa372756e05a87363656e6172696fa3636f77a9696e7374616e636573cd4e20a970726f63657373"
            "65739186a46e616d65a66167656e7430a3706964cd1092a4726f6c65a56167656e74a57374617465"
            "a772756e6e696e67a764657669636573920001a8636f756e7465727381a577616c6b7304"
            "aa6c6f61645f656e646564a0"
        ),
    ),
    (m.RunStarted(2, 5), "83a474797065ab72756e5f73746172746564a77265717565737402a372756e05"),
    (
        m.RunProgress(2, 5, 512, 20000),
        (
            "85a474797065ac72756e5f70726f6772657373a77265717565737402a372756e05a4646f6e65cd02"
            "00a26f66cd4e20"
        ),
    ),
    (
        m.RunEnded(
            2,
            5,
            m.RunEnd.DONE,
            "",
            20000,
            {"walks": 4},
            ("out/history/daemon", "out/history/agent0"),
        ),
        (
            "89a474797065a972756e5f656e646564a77265717565737402a372756e05a3656e64a4646f6e65a3"
            "776879a0a9696e7374616e636573cd4e20a8636f756e7465727381a577616c6b7304a9686973746f"
            "7269657392b26f75742f686973746f72792f6461656d6f6eb26f75742f686973746f72792f616765"
            "6e7430a66661756c747390"
        ),
    ),
    (
        fm.AddFault(5, 1, Fault("inv.drop", agent="all", count=3)),
        (
            "84a474797065a96164645f6661756c74a77265717565737405b070726f746f636f6c5f7665727369"
            "6f6e01a56661756c7489a46b696e64a8696e762e64726f70a56167656e74a3616c6ca67468726561"
            "64a0a26174a0a26d7300a96a69747465725f6d7300a6666f725f6d7300a470726f62cb3ff0000000"
            "000000a5636f756e7403"
        ),
    ),
    (
        fm.ListFaults(6, 1),
        (
            "83a474797065ab6c6973745f6661756c7473a77265717565737406b070726f746f636f6c5f766572"
            "73696f6e01"
        ),
    ),
    (
        fm.ClearFaults(7, 1, 0, heal=True),
        (
            "85a474797065ac636c6561725f6661756c7473a77265717565737407b070726f746f636f6c5f7665"
            "7273696f6e01a66e756d62657200a46865616cc3"
        ),
    ),
    (
        fm.FaultList(5, (FaultStatus(1, Fault("inv.drop"), 3, healed=True),)),
        (
            "83a474797065aa6661756c745f6c697374a77265717565737405a66661756c74739184a66e756d62"
            "657201a56661756c7489a46b696e64a8696e762e64726f70a56167656e74a0a6746872656164a0a2"
            "6174a0a26d7300a96a69747465725f6d7300a6666f725f6d7300a470726f62cb3ff0000000000000"
            "a5636f756e7400a76170706c69656403a66865616c6564c3"
        ),
    ),
    (m.Stopping(4), "82a474797065a873746f7070696e67a77265717565737404"),
    (
        m.ErrorReply(0, ErrorCode.TRAILING_BYTES, "saw 2 more bytes"),
        (
            "84a474797065a56572726f72a77265717565737400a4636f646568a3776879b07361772032206d6f"
            "7265206279746573"
        ),
    ),
    (
        m.Event(
            1,
            "daemon",
            "batch_begun",
            {"batch": 3, "seed": 1.5, "name": "cow", "overlap": True, "none": None},
        ),
        (
            "85a474797065a56576656e74a873657175656e636501a770726f63657373a66461656d6f6ea46e61"
            "6d65ab62617463685f626567756ea66669656c647385a5626174636803a473656564cb3ff8000000"
            "000000a46e616d65a3636f77a76f7665726c6170c3a46e6f6e65c0"
        ),
    ),
)
"""A message and its bytes, in hex."""
