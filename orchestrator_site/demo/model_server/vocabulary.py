"""Words the desk knows, as tables: nothing here decides anything.

A cue is a row of words that points to an intent. `a|b` are alternatives, `*` is up to three words of any kind, `#` an
order number. Words are compared by stem, after typing errors were mended.
"""

CONTRACTIONS = {
    **{f"{verb}nt": f"{verb} not" for verb in "do does did is was are were has have had could should would need".split()},
    **{f"{verb}n't": f"{verb} not" for verb in "do does did is was are were has have had could should would need".split()},
    "dosnt": "does not", "doesn": "does not", "dosent": "does not", "cant": "can not", "cannot": "can not", "wont": "will not",
    "shant": "shall not", "aint": "is not", "im": "i", "ive": "i", "id": "i", "ill": "i", "wheres": "where is", "where's": "where is",
    "whats": "what is", "what's": "what is", "hows": "how is", "its": "it", "thats": "that", "pls": "please", "plz": "please",
    "pleas": "please", "thx": "thanks", "u": "you", "ur": "your", "ordr": "order", "odrer": "order", "oder": "order", "orde": "order",
    "refnd": "refund", "adress": "address", "adres": "address", "addres": "address", "cancle": "cancel", "cancell": "cancel",
    "wanna": "want to", "gonna": "going to", "lemme": "let me", "gimme": "give me", "whens": "when is", "when's": "when is",
    "n": "and", "cust": "customer", "msg": "message", "info": "information", "pkg": "package", "parcell": "parcel", "recieved": "received",
}  # fmt: skip

IRREGULAR = {
    "written": "write", "wrote": "write", "sent": "send", "bought": "buy", "paid": "pay", "got": "get", "gotten": "get", "broke": "break",
    "broken": "break", "came": "come", "gave": "give", "given": "give", "went": "go", "gone": "go", "going": "go", "lost": "lose",
    "told": "tell", "said": "say", "meant": "mean", "made": "make", "took": "take", "taken": "take", "found": "find", "has": "have",
    "had": "have", "is": "be", "are": "be", "was": "be", "were": "be", "been": "be", "being": "be", "am": "be", "did": "do", "does": "do",
    "done": "do", "doing": "do", "items": "item", "leaking": "leak", "leaks": "leak", "torn": "tear", "bent": "bend", "chose": "choose",
    "chosen": "choose", "shrunk": "shrink", "worn": "wear", "stuck": "stick", "repaid": "repay", "cheaper": "cheap", "cheapest": "cheap",
    "dearer": "dear", "dearest": "dear", "replied": "reply", "tried": "try", "mailed": "mail", "lady": "lady", "emails": "email",
}  # fmt: skip

# Cues by intent. Strength: 3 says it outright, 2 usually means it, 1 only when nothing else is said.
CUES: dict[str, dict[int, list[str]]] = {
    "where_is_it": {
        3: [
            "where is|be", "where * parcel|package|order|delivery|stuff|shipment|thing|item", "track", "when * arrive|come|deliver|get|ship|reach|here",
            "not arrive", "not come", "not turn up", "not show up", "never arrive|come", "not receive * parcel|package|order|delivery|anything",
            "not * be deliver", "still wait", "still nothing", "still not here", "still not arrive|come|here|deliver|ship|receive|get",
            "have * ship yet", "have * leave", "ship yet", "on its|it way", "on the way", "go out yet|already", "be out yet", "# go out", "how long * take|until|till", "how much longer", "any news",
            "any update", "eta", "delivery date|day|status|time", "out for delivery", "in transit", "whereabouts", "left the warehouse",
            "be * deliver today|tomorrow|soon|by", "should have be|arrive|come", "supposed to arrive|come|be", "be due",
            "dispatch yet", "be dispatch", "have * be send", "have it ship", "already ship", "lose in the post", "get lost", "go missing",
            "deliver yet", "has|have # ship|leave|go|arrive", "expect * parcel|package|order|delivery|it|#", "i wait", "be wait", "wait for",
            "be|get here", "reach me", "make it by", "where have", "where do", "where did", "where exactly", "where the", "where my", "where", "not here",
            "what happen to|with * parcel|package|order|delivery|shipment|#", "nothing arrive|come", "nothing yet", "nothing so far",
            "not see * parcel|package|order|delivery", "get hold|stick", "stick at|in", "no sign of", "arrive yet", "arrive by|before|today|tomorrow|on time|in time",
            "locate * parcel|package|order|shipment|#", "be overdue", "courier", "driver", "likely to arrive", "how far", "at customs", "get|come here",
        ],
        2: ["late", "overdue", "delay", "arrive", "not move", "be ship", "shipping status", "be deliver", "likely to arrive", "parcel be", "delivery when", "turn up", "ship", "show up", "arrival"],
    },
    "order_details": {
        3: [
            "what be in", "what in", "what do|did * order|buy|pay|choose|pick|get|cost|contain", "what * be in", "how much do|did|be|have", "how many", "what colour|color|size|item|product|article|thing",
            "which item|product|article|colour|color|size|address", "line item", "contents", "content of", "status", "detail", "total", "when do|did * place|order|buy|pay",
            "when be * place|order|pay", "pay yet", "be|have * pay", "read me", "list * item|product|article", "show me", "look up", "pull up", "invoice", "receipt",
            "what be|have * item|total|price|status|address", "summary", "include in", "overview", "what exactly", "which one do|did", "breakdown",
            "payment * arrive|receive|go through|come", "tell me * about", "information about|on", "what address", "do|does * include|contain|have|come with",
            "what have i|we order|buy", "be * in stock", "under what|which name", "which * include", "have|be * gift wrap", "what quantity", "quantity",
            "be * cancel|confirm|process already", "be # cancel|pay|confirm", "how much", "price", "cost", "name * on * order|#", "remind me what|which|when|how", "copy of", "recap", "go through", "product list", "specification", "order confirmation", "did i order|buy|pick|choose|pay|get", "be * include", "payment method", "who order|place|buy|pay", "what be|do * delivery|payment|name", "run me through", "rundown", "give me * information|info|list", "which * did", "i order in|on|with #", "what kind|type|model|brand|make|sort|version", "can i see", "order date", "date of", "tell me what", "know which|how many|much", "know what * in|order|buy|pay", "see what|which", "did * include|contain", "have i pay", "already pay", "what i order|buy|get|pay", "and what", "vat|tax", "delivery address on|for|of", "gift", "when was * order|place|buy|pay|make", "list|listed",
        ],
    },
    "compare_orders": {
        3: [
            "compare", "difference", "differ", "side by side", "versus", "vs", "same", "identical", "which be|one|of", "cheap", "expensive", "dear", "more than|item|expensive",
            "fewer", "less than", "between", "both", "twice", "duplicate", "double", "bigger", "larger", "smaller", "higher", "lower", "better", "match", "common", "first",
            "which", "older", "newer", "earlier", "later", "sooner", "against", "contrast", "than", "as much as", "alike", "similar", "overlap", "together", "longer", "heavier", "combine",
            "faster", "quicker", "latest", "discrepancy", "gap", "vary", "equal", "correspond", "same thing", "either", "also in", "apart", "have in common", "# or #", "# or order|number #", "# or # ", "more", "less", "how many more", "or", "whether * both|same", "extra", "two order", "differently", "match up", "next to", "instead of", "whichever", "better value|deal", "vs", "compared", "relative to", "set * beside",
        ],
        2: ["why * when"],
    },
    "complaint": {
        3: [
            "break", "crack", "damage", "chip", "scratch", "dent", "in piece", "shatter", "smash", "tear", "rip", "leak", "stain", "defective", "defect", "faulty",
            "not work", "not turn|switch on", "not close|open|fit|start|heat|charge", "stop work", "wrong size|colour|color|item|product|model|article|one|thing", "wrong",
            "miss from|in|part|item|piece", "be miss", "not in it|box|there", "nothing in", "empty", "incomplete", "only get|receive|contain", "instead of * order", "someone else", "somebody else",
            "complain", "complaint", "bad quality", "poor quality", "terrible", "awful", "shocking", "disgusting", "unacceptable", "disappoint", "a joke", "rust", "mouldy", "moldy", "smell", "dirty", "burn", "ruin", "wobble", "wobbly",
            "come apart", "fall apart", "fall off", "blue one", "but i * order", "not what i * order", "not what be", "bend", "peel", "snap", "shrink", "dead", "malfunction", "different colour|color|one|item|product|model",
            "mix up", "not match", "not the one", "use already", "second hand", "too small|big|short|long|tight|large", "crooked", "bash", "rusty", "grind", "runs backwards", "trip the fuse", "forget the|my|one|a", "you forget", "fault", "one leg", "instead of the|a", "bad", "poor", "not sit|stand|lock|stay", "loose", "blunt", "fade", "hole", "expire", "never switch", "flicker", "buzz",
            "split", "warp", "missing", "part short", "one short", "two short", "squash", "wet", "soak", "not hold", "upside down", "not even", "fake", "burst", "noise", "wrongly", "short circuit", "spark", "melt", "jam", "stick out", "coming off",
            "come off", "come loose", "only * arrive|come|receive|get|find|contain|have|in the", "not include", "forget|forgot to include|pack|put", "leave out", "left out", "part of * arrive|come|miss", "rest of * not", "half of * not|miss", "one of * not|be", "not * in the|my box|parcel|package|bag|carton", "hardly|barely work", "fail", "keep|kept * turn|switch|fall", "stop|stops charging", "overheat", "scorch", "mess up", "incorrect", "not as describe|advertise|shown", "looks nothing like", "low|lousy|inferior|cheap quality", "quality", "handle * off|fall|come", "will not turn|switch|start|close|open|charge|heat|stay|work|fit", "not fit", "squeak", "rattle", "be the wrong", "in bits", "in two", "sour", "rotten", "squashed", "crush", "nothing inside|in", "mistake in", "not seal", "unusable", "useless", "short of", "come with a", "arrive with a", "arrive without", "come without", "deliver without", "without the|its|a lid|cable|screw|plug|manual|part|handle|one", "not happy with|about the", "got|receive two|three|one instead", "different from", "order * but get|receive|got|come|arrive", "order * get|receive|got * instead", "receive * instead", "got * instead", "not be complete", "wear out", "damp", "rude", "ink", "mark on", "has|have a hole|crack|dent|scratch|chip", "be not the",
        ],
    },
    "refund": {
        3: [
            "refund", "money back", "reimburse", "repay", "pay * back", "pay me back", "give * back", "get * back for", "send * money", "return the|my|all money|payment",
            "reverse the charge|payment", "chargeback", "charge back", "back on his|her|my|the|their card|account", "credit", "compensate", "compensation", "back on #|order", "off the price|bill",
            "want * back", "would like * back", "like * back", "have * back", "take back * money", "see * penny|cent|money", "back to my|his|her|the|their card|account|bank", "put * back",
            "transfer * back", "back for # ", "partial", "make good", "reversal", "money return", "return of * money", "my money", "all the money", "money * return", "goodwill", "rebate", "knock * off", "take * off", "paid back", "return|refund|repay that|it", "get the money", "get|give|pay|have|send back what|my|the|all", "get back", "back what|everything|all", "lot back", "put it|that|them|everything back", "cost back", "back onto|on|into my|her|his|the|their card|account|bank", "what i|we|she|he pay", "be pay back", "return everything|all|it|my", "undo the purchase", "claim", "be return * whole|all|everything", "return order|#", "return it|this|them|everything", "want|like to return", "send it|#|this|them back", "repayment", "recredit", "undo * payment|charge", "charge reverse", "cash back", "get my|our|her|his money", "what i|we pay back", "return label", "give|pay * for the trouble", "money for", "reverse it", "tenner|fiver back", "return|refund * postage|shipping|delivery", "spend back", "reimbursement", "all * back", "back the|all|my money|payment|cost|price|amount|postage|difference", "settle * back", "be owe", "owed", "everything back", "back to me|us|him|her", "claim back", "recover", "give|pay * back to", "recoup",
            "price difference", "back please", "owe me", "owe her|him|them|us", "overcharge", "charge twice|two|double", "return * amount|sum|price|cost|charge|postage|difference|euro|pound|dollar", "deduct", "pay out", "give|pay|return|send|refund|transfer * difference", "difference back", "give * amount", "return it all", "allowance", "discount",
        ],
    },
    "cancel": {
        3: [
            "cancel", "call off", "call it off", "take back my|the|this|our order", "call # off", "withdraw", "revoke", "annul", "not send", "not ship", "not deliver", "not dispatch", "stop * order|#|shipment|delivery", "order stop", "# stop", "stop it|this|that|please",
            "want|need * stop", "please stop", "not * want * anymore|more|longer|order|#|it", "not * need * anymore|more|longer|order|#|it", "no longer want|need|require", "not be need", "not want anymore", "do not want #|it|this|the order",
            "forget * order|#", "forget about", "scrap", "drop # ", "drop the order|# ", "drop order", "void", "change * mind", "order * by mistake|accident|twice", "by mistake", "by accident", "accidentally",
            "take * back the order", "abort", "undo", "kill * order|#", "pull the plug", "delete * order|#", "remove * order|#", "back out", "bin * order|#", "rescind", "do not * process|proceed|go ahead", "hold * send",
            "not proceed", "strike * order|#", "nix", "ditch", "get rid of", "not * fulfil|fulfill", "no need for", "rather not have", "halt", "terminate", "not go ahead", "not bother", "unwanted", "rather you do not", "change our|my|her|his mind", "never mind order|#", "reject", "storno", "discontinue", "cease", "no need to send|ship|deliver", "leave it", "decide against", "not take", "pull order|#", "take # off", "not go through", "withdrawn", "not be send|ship|deliver", "hold off", "stop it", "not require", "not interested", "no more need", "not wish|want to|it|this|#|that|order", "no longer interest|wish|of use", "order it twice", "i order the wrong", "not to send|ship|deliver|dispatch", "keep it|# there|back", "do without", "unorder", "not be require", "cancellation",
        ],
    },
    "change_address": {
        3: [
            "address", "postcode", "post code", "postal code", "zip", "house number", "street", "redirect", "reroute", "move house|flat|home", "i move", "i have move", "we have move", "customer have move", "we move", "i be move", "we be move", "she|he|they|customer move", "flat number", "door number",
            "send|ship|deliver|go * instead", "old flat|house|place", "new flat|house|place|home", "deliver to my|his|her|our|the office|work|neighbour|neighbor|home|mom|mum|sister|brother|parents", "divert", "forward it|# to",
            "send|ship|deliver it|#|this|that|order|parcel|package|them to", "ship|send|deliver|bring * to * place|house|office|home|sister|mum|mom|neighbour|neighbor|workplace|work", "goes to", "should go to", "must go to", "has|have to go to", "apartment", "unit number", "relocate",
            "to go to", "go to", "different|other|another place|location|address|destination", "somewhere else", "pickup|pick up|collection point", "parcel shop|locker", "delivery location|destination|place", "wrong flat|street|house|town|city|number", "number * missing", "spell|type * wrong", "typo in the|my", "moved house|flat|home", "live at|in|with", "stay at|with", "c/o", "care of", "new place", "send|ship|deliver * to the|my|our|a|her|his", "attention of", "where * should go|be send|deliver", "ship to", "deliver to", "hotel", "door code", "building", "lives", "neighbour|neighbor", "leave it|# with|at", "be deliver to", "be send to", "drop it|# at|off",
        ],
    },
    "write_customer": {
        3: [
            "write to", "write a|an|one|the|him|her|them|back|up * letter|mail|email|note|message|line|reply|apology|answer", "write * customer|client|buyer|him|her|them|lady|man|gentleman|guy|mr|mrs|ms|me", "letter", "email", "e mail", "mail", "send * message|note|line|reply|apology|confirmation|word|reminder|text",
            "drop * line|note|message|mail", "in writing", "inform * customer|client|buyer|him|her|them", "tell * customer|client|buyer|him|her|them that|the|we|his|it|about", "let * customer|client|buyer|him|her|them * know", "notify", "draft", "compose",
            "write", "apologise to|for", "apologize to|for", "reply to", "answer the|to customer|client|buyer", "contact * customer|client|buyer|him|her|them", "written confirmation|statement|reply|answer", "note to", "message to|for", "thank * customer|client|buyer|him|her|them for",
            "short message", "send word", "heads up", "few lines|words", "explain to", "formulate", "pen a|an|the", "prepare * reply|letter|mail|message|note|email", "let her|him|them|mr|mrs|ms * know", "tell her|him|them|mr|mrs|ms", "thank her|him|them|mr|mrs|ms", "remind her|him|them|mr|mrs|customer", "correspondence", "in black and white", "on paper", "send * written", "confirm * in writing|email|mail", "thank you note|card|letter|mail", "send * a card", "sms", "phrase", "put together a|an", "follow up with", "inform", "assure her|him|them|customer|mr|mrs", "word to the|her|him", "wish * happy|well", "tell * customer|client|buyer", "type up", "congratulate", "invite", "get in touch", "reach out", "shoot * email|mail|message|note|line", "ping * customer|client|buyer|him|her|them", "let * customer|client|buyer know", "respond to", "an apology", "reply", "message",
            "put * in write", "update him|her|them|customer|client|buyer", "advise * customer|client|buyer|him|her|them",
        ],
    },
}  # fmt: skip

# Said of an order without saying what should be done.
DESK_WORDS = (
    "order parcel package delivery purchase customer client buyer shipment item goods thing stuff it that this problem issue help happy unhappy "
    "sort fix handle deal care matter question something same usual urgent call again need want please case request situation trouble "
    "assist regarding about concerning last time different wrong tuesday monday wednesday thursday friday yesterday phone speak talk chat "
    "do done know thing needful change update modify amend alter edit adjust look attention resolve look into angry annoyed upset fed up "
    "mess promise colleague told agree before follow hello hi hey good morning afternoon evening right correct proceed make move forward "
    "ok okay yes no now quickly asap thanks thank dear sir madam team there any anything can could you your "
    "will would me my mine the a an i we us our on in of to for with from at by is be have has one ones and or but so just still yet "
    "if how what who which why when where not up out down over as then than too very really some bit here finally get give let go see "
    "take put number no order's reference ref account complicated story remember discuss conversation earlier previous week day today "
    "explained everything email nobody contact reach ring heard promised supposed mentioned guys anyone someone somebody nothing whatever arrangement arranged agreed pending open ticket follow continue advise clarify confused lost stuck properly concern important straight away soon possible happen next think hear back answer waiting response second usual way first also already should must may "
    "might were been had did does her him she he they them his their person lady man guy mr mrs ms woman"
).split()

# A topic that no mail-order desk has, unless the text names an order as well.
FOREIGN = (
    "weather forecast rain sunny poem poetry song lyrics joke novel essay homework python javascript script code program indexerror exception sql "
    "landlord tenant sue lawyer lawsuit court legal tax taxes visa passport election president minister politics football soccer match game "
    "cricket tennis team league score movie film netflix spotify youtube tv episode recipe cook bake pasta cake restaurant hotel flight airline airport train "
    "bus taxi ticket concert museum doctor medicine symptom headache pill diet gym horoscope dream bitcoin crypto stocks shares invest mortgage "
    "loan salary cv resume interview job vacancy translate translation spanish french german latin grammar capital country planet moon star history war "
    "king queen year times math equation algebra calculate sum square root physics chemistry biology "
    "amazon ebay zalando ikea walmart etsy aliexpress temu shein apple google microsoft facebook instagram whatsapp tesla "
    "dog cat puppy plant garden car engine tyre tire bicycle password wifi router printer laptop windows excel powerpoint "
    "population distance mountain river ocean city birthday wedding speech party playlist guitar piano chess sudoku crossword "
    "dentist pharmacy bank library school university exam teacher boss neighbour's girlfriend boyfriend wife husband marriage divorce "
    "meaning life god religion philosophy prime fibonacci haiku limerick story dinner lunch breakfast coffee wine beer whisky"
).split()
# Foreign words that also occur when people talk about what they ordered.
HARMLESS_FOREIGN = set(
    "hotel school university library airport dentist teacher gym museum restaurant girlfriend boyfriend bus train plant speech playlist laptop printer windows engine car tyre river mountain ocean dinner party garden birthday wedding bank wife husband boss score sum year city dog cat country team game german french spanish story neighbour's plant star coffee wine "
    "breakfast dinner lunch match car job code cook bake beer cake pill king queen school teacher train capital square apple war dream".split()
)
OTHER_COMPANIES = (
    "amazon ebay zalando ikea walmart etsy aliexpress temu shein apple google microsoft facebook instagram whatsapp tesla netflix spotify uber deliveroo asos target "
    "argos lidl aldi tesco nike adidas decathlon vinted".split()
)

CORRECTIONS = [  # longest first; the flag says whether the number may stand a few words away
    ("sorry i mean", True), ("no i mean", True), ("i mean", True), ("mean", True), ("no wait", True), ("wait no", True), ("no hang on", True), ("hang on", True), ("hold on", True),
    ("scratch that", True), ("strike that", True), ("make that", True), ("correction", True), ("correct be", True), ("correct number", True), ("right number", True), ("wrong number", True), ("oops", True), ("whoops", True), ("typo", True),
    ("or rather", True), ("rather", False), ("no sorry", True), ("sorry no", True), ("sorry", False), ("actually", False), ("wait", False), ("no", False), ("apology", False), ("ah no", True),
    ("pardon", False), ("excuse me", False), ("ignore that", True), ("make it", True), ("make * it", True), ("my bad", True), ("my mistake", True), ("mix * up", True), ("misread", True), ("mistype", True), ("argh", False), ("ugh", False), ("nope", True), ("er", False), ("erm", False), ("um", False), ("beg your pardon", True), ("should be", True), ("should read", True), ("should say", True),
]  # fmt: skip
FILLERS = set(
    "i it be the a an order number no nr my that is should read say for to of on one please and make it's rather actually correct right "
    "was were this ah oh i'm am so just want have get refund cancel really ordernumber ref reference meant mean sorry wait in fact with and against by from customer client buyer person who has have lady gentleman one other check checked again look hm hmm oh well".split()
)

NEGATORS = {"not", "never", "without"}
FULL = [
    "in full",
    "full",
    "whole",
    "all",
    "complete",
    "completely",
    "everything",
    "entire",
    "entirely",
    "total",
    "fully",
    "every penny|cent",
    "in total",
]
PART = [
    "part", "partial", "partially", "half", "only", "just", "difference", "shipping|delivery|postage cost|fee|charge|part", "postage", "keep * rest|others|other", "the rest", "percent", "third", "quarter", "shipping",
    "one of", "two of", "three of", "not the rest", "some of", "share", "portion", "discount", "goodwill", "a bit", "a little", "some money|of", "keep the", "for one", "gesture", "rest stay", "cost of one", "fee", "surcharge", "gift wrap", "express",
]  # fmt: skip
# What is paid back stands right behind these; an item there makes it a part of the order.
REFUND_OF = [
    "refund the|my|one|a|her|his|their",
    "reimburse|credit|repay me for the|one|a",
    "refund me|him|her|them for|the",
    "back for the|one|a",
    "refund for the|one|a",
    "reimburse|credit|repay the",
    "refund on the|one|a",
]
NOT_ITEMS = (
    "order purchase money amount full whole complete total entire customer client buyer lady man gentleman guy payment charge card cost price sum order's "
    "lot goods stuff parcel package delivery shipment thing for in to on person mr mrs ms following first second last return returned cancelled late lost missing undelivered "
    "the rest all everything entire whole i that this said above wrong broken damaged faulty two three both account owner lot cash bank".split()
)
ASKING = {
    "where",
    "what",
    "which",
    "when",
    "how",
    "who",
    "is",
    "are",
    "has",
    "have",
    "did",
    "does",
    "do",
    "tell",
    "show",
    "list",
    "look",
    "check",
    "find",
    "compare",
    "let",
    "see",
    "read",
    "pull",
    "give",
    "also",
}

ACTION_STARTERS = set(
    "cancel refund change send write tell compare stop redirect look check find give pay email mail drop let where what when how which put ship reroute "
    "notify inform draft compose credit reimburse return track please could can would i we also then pull read show withdraw call amend update deliver "
    "confirm apologise apologize has have is are did see list message contact forward make repay transfer reply answer thank order # who".split()
)

MONTHS = set(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug sept sep oct nov dec".split()
)
CURRENCY = {
    "euro": "EUR",
    "eur": "EUR",
    "dollar": "USD",
    "buck": "USD",
    "usd": "USD",
    "pound": "GBP",
    "quid": "GBP",
    "squid": "GBP",
    "tenner": "",
    "fiver": "",
    "gbp": "GBP",
    "cent": "",
    "pence": "",
    "euros": "EUR",
}
SIGNS = {"€": "EUR", "$": "USD", "£": "GBP"}
NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
    )
} | {word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
PRICE_TALK = {
    "pay",
    "cost",
    "price",
    "offer",
    "worth",
    "was",
    "invoice",
    "bill",
    "total",
    "buy",
    "value",
    "spend",
    "transfer",
    "come",
    "find",
}
FRACTIONS = {"half": "0.5", "quarter": "0.25", "third": "0.3333"}

STREETS = tuple(
    "street st road rd lane ln avenue ave drive dr way row court ct close place pl square sq terrace view hill quay park gardens crescent boulevard blvd walk mews green "
    "straße strasse str weg gasse allee platz ring damm ufer gracht straat laan plein rue via calle rua".split()
)
STREET_ENDINGS = (
    "straße",
    "strasse",
    "str",
    "weg",
    "gasse",
    "allee",
    "platz",
    "gracht",
    "straat",
    "laan",
    "gatan",
    "vej",
    "plein",
    "damm",
    "ufer",
    "ring",
)
COUNTRIES = {
    "germany": "Germany", "deutschland": "Germany", "austria": "Austria", "österreich": "Austria", "uk": "United Kingdom", "united kingdom": "United Kingdom",
    "england": "United Kingdom", "scotland": "United Kingdom", "wales": "United Kingdom", "ireland": "Ireland", "france": "France", "netherlands": "Netherlands", "the netherlands": "Netherlands",
    "poland": "Poland", "portugal": "Portugal", "sweden": "Sweden", "usa": "United States", "us": "United States", "united states": "United States", "spain": "Spain", "italy": "Italy", "switzerland": "Switzerland", "belgium": "Belgium", "denmark": "Denmark",
}  # fmt: skip

# Common words that are near a cue but mean themselves.
NEVER_MENDED = set(
    "there here these those were wear hear near dear year bear mine mind kind find fine line like lake make made take taken wait want went what that than then them they this "
    "with will well wall tell told sell sold call cell fall full feel fill still till tall talk walk work word world worth would could should about above after again also always "
    "another around away back been before being below best better both bring brother came case come cost each early else even ever every face fact felt fill first five food form "
    "four from gave give goes gone good great half hand have head help high home hope hour idea into item just keep knew know land last late left less life list live long look lose "
    "love main many mean more most move much must name need next nice note once only open over paid part past plan play please point quite read real rest right room said same save "
    "seem sent shop short show side since size some soon sort such sure table thank thanks thing think three time today took town tried true turn type under until upon used user very "
    "view visit wanted week were when where which while white whole whose wife wine wish without woman words write wrote yes yesterday young your yours refuse refused rather "
    "weather whether leather feather father mother sister better butter letter latter matter platter scatter shelter another other others orders bother border older odder "
    "wait waste taste paste haste lamp lamps camp clamp ramp stamp chair chairs table stable cable able vase case base race mug mugs rug rugs bed red blue pan pens plate plates place "
    "glass glasses class grass brass pass mass bowl bowls bowel towel vowel towels knife wife life kettle settle nettle cattle battle bottle toaster coaster poster teapot blanket "
    "basket casket market clock block lock shock shelf self fan van man men mom mum dad son kid kids party parts cart card cards hard lard ward yard post host most lost cost "
    "penny pence pound pounds round sound found ground bound hound wound mound dollars dollar collar euros euro quid cent cents tent rent sent went bent dent lent "
    "mill hill till bill kill pill will fill street sheet meet feet sweet green screen seen keen poem poet shares share sharp shape shade store score shore chore "
    "landlord deposit python script error index cats sleeps roof opening hours office post dundee match won nite happened translate sentence buying stock stocks "
    "steel stale stall style start state stage staff stuff stiff cliff sniff paint print point saint faint chain plain train brain drain grain rain gain main "
    "lined lines liner linen lemon melon salon colon color colour flavor favour happy unhappy sappy puppy sunny funny money honey monkey donkey "
    "charged changed chance change changes dance glance balance branch bunch lunch launch punch munch phone phoned alone along among phrase arrived arrive drive driver river "
    "sorted sort short sport spot shot shut shirt skirt spirit split spilt quilt guilt built build quiet quite quit suit suite sweet "
    "needful needed needs seeds deeds feeds weeds leads loads roads reads boards birds words lords cords works warms words".split()
)
COMMON_MENDABLE = (
    "order number cancel refund address customer letter email message parcel package delivery deliver delivered arrived arrive where refunded cancelled cancelling compare "
    "difference complaint broken damaged status invoice money shipping shipped tracking please change changed postcode street receive received return returned missing "
    "reimburse withdraw warehouse identical cheaper expensive confirm confirmation warranty repair apology apologise write sorry meant wrong faulty defective "
    "instead total items which completely delayed courier shipment purchase euros compensation contents details separate replace replacement".split()
)


MENDABLE = frozenset(COMMON_MENDABLE)
